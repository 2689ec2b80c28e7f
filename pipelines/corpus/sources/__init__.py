"""Sources of text: files below ``corpus.raw``, whatever their form, as documents and pairs.

params     what a source is in params.yaml
paths      which files its patterns name
opening    unpacking, decoding, lines; what is broken is refused with its place
plain      text files and pairs of aligned text files
tables     CSV, TSV, JSON lines and Parquet
memories   TMX, and OPUS's zip with its Moses files
sentences  splitting text that is not one sentence per line
reading    any of them
"""
