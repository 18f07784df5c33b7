"""Labels whole archives of video on Ray, on one machine or many. `python -m realtime.archive`, docs/cluster.md.

`listing` says what there is, `plan` what is left to do, in shards. A `worker` holds one pipeline and labels the sources
of a shard. `parts` is the Parquet file that comes of it, and `store` the place where that goes, a folder or a bucket.
Only `schedule` knows Ray, and Ray only schedules: no frame and no row passes through it.
"""
