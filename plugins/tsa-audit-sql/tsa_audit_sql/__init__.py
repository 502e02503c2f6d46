"""An audit trail in a database: a row for each outcome, chained by hashes and sealed by Merkle roots."""
