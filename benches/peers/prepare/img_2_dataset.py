"""img2dataset: file:// URLs, one process a job. It takes one caption and does not tokenise."""

import math

import pyarrow.parquet as pq
from work import QUALITY, SIZE, arguments, hide_torch

hide_torch()  # in every process: each runs this file
from img2dataset import download  # noqa: E402

if __name__ == "__main__":
    corpus, out, jobs = arguments()
    pairs = corpus / "pairs.parquet"
    rows = pq.ParquetFile(pairs).metadata.num_rows
    download(
        url_list=str(pairs),
        input_format="parquet",
        url_col="url",
        caption_col="caption",
        output_folder=str(out),
        output_format="webdataset",
        image_size=SIZE,
        resize_mode="center_crop",
        encode_quality=QUALITY,
        processes_count=jobs,
        thread_count=4,
        number_sample_per_shard=max(1, min(1000, math.ceil(rows / (2 * jobs)))),
        extract_exif=False,
        disallowed_header_directives=[],
    )
