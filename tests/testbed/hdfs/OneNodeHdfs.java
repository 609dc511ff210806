import java.util.concurrent.CountDownLatch;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

/** A NameNode and a DataNode in this process, until it is ended: {@code OneNodeHdfs <HTTP port> <RPC port> <folder>}. */
public class OneNodeHdfs {
  public static void main(String[] arguments) throws Exception {
    int http = Integer.parseInt(arguments[0]);
    int rpc = Integer.parseInt(arguments[1]);
    Configuration settings = new Configuration();
    settings.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, arguments[2]);
    settings.set("dfs.replication", "1");
    settings.set("dfs.permissions.superusergroup", "admins"); // permissions are checked, for other users than this one
    settings.set("dfs.namenode.http-bind-host", "127.0.0.1");
    settings.set("dfs.namenode.fs-limits.min-block-size", "0");
    MiniDFSCluster cluster =
        new MiniDFSCluster.Builder(settings).numDataNodes(1).nameNodePort(rpc).nameNodeHttpPort(http).build();
    Runtime.getRuntime().addShutdownHook(new Thread(cluster::shutdown));
    cluster.waitActive();
    System.out.println("READY");
    new CountDownLatch(1).await();
  }
}
