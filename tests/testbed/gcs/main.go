// An emulator of Google Cloud Storage for tests: fake-gcs-server's handlers in memory, and what Google's clients ask of
// a server beside them: a token for a service account, and batches whose parts carry no Content-ID.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	address := flag.String("address", "127.0.0.1:4443", "host:port to listen on")
	flag.Parse()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener:  true,
		Scheme:      "http",
		ExternalURL: "http://" + *address,
		PublicHost:  *address,
	})
	if err != nil {
		log.Fatal(err)
	}
	storage := server.HTTPHandler()
	log.Fatal(http.ListenAndServe(*address, http.HandlerFunc(func(reply http.ResponseWriter, request *http.Request) {
		switch { // no ServeMux here: it redirects keys with "//" or ".."
		case request.URL.Path == "/token":
			giveToken(reply, request)
		case strings.HasPrefix(request.URL.Path, "/batch/"):
			if err := numberParts(request); err != nil {
				http.Error(reply, err.Error(), http.StatusBadRequest)
				return
			}
			storage.ServeHTTP(reply, request)
		default:
			storage.ServeHTTP(reply, request)
		}
	})))
}

func giveToken(reply http.ResponseWriter, _ *http.Request) {
	reply.Header().Set("Content-Type", "application/json")
	fmt.Fprint(reply, `{"access_token": "any", "token_type": "Bearer", "expires_in": 3600}`)
}

// numberParts gives each part of a batch the Content-ID without which fake-gcs-server leaves it out.
func numberParts(request *http.Request) error {
	_, parameters, err := mime.ParseMediaType(request.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	parts := multipart.NewReader(request.Body, parameters["boundary"])
	var body bytes.Buffer
	numbered := multipart.NewWriter(&body)
	for number := 1; ; number++ {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if part.Header.Get("Content-ID") == "" {
			part.Header.Set("Content-ID", fmt.Sprintf("<part-%d>", number))
		}
		to, err := numbered.CreatePart(part.Header)
		if err != nil {
			return err
		}
		if _, err := io.Copy(to, part); err != nil {
			return err
		}
	}
	if err := numbered.Close(); err != nil {
		return err
	}
	request.Body = io.NopCloser(&body)
	request.ContentLength = int64(body.Len())
	request.Header.Set("Content-Type", "multipart/mixed; boundary="+numbered.Boundary())
	return nil
}
