//! The audit log: chained records in Azure's shape, by the rules of DESIGN 8.
