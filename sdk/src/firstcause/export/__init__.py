"""Out of the process: OTLP encoding, the bounded batch pipeline, and the HTTP exporter.

In: ended spans and log records. Here: batches, bytes, retries. Out: OTLP over HTTP, and counted drops.
"""
