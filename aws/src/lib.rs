//! DynamoDB items and queries, S3 objects, SageMaker conventions.
//!
//! An empty room: the programs work on local files until it is furnished.
