"""Tasks and predictions from other tools, confirmed labels to them: Label Studio's JSON, CSV, Parquet."""
