"""Traces behind the OpenTelemetry API: ids and headers, spans, the provider."""
