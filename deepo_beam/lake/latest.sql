-- Of each image the labels of its newest labelling, over the tables labels and images of an output (docs/tables.md).
-- An image that failed after it was labelled keeps its labels; one that was labelled anew without labels has none.
WITH placed AS (
  SELECT
    image_id,
    run_id,
    ROW_NUMBER() OVER (PARTITION BY image_id ORDER BY finished_at DESC, run_id DESC) AS place
  FROM images
  WHERE status <> 'failed'
)
SELECT labels.*
FROM labels
JOIN placed ON labels.image_id = placed.image_id AND labels.run_id = placed.run_id
WHERE placed.place = 1
