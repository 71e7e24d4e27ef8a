"""Few labels, and anomalies."""
