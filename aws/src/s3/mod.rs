//! S3: objects up and down, checked; runs kept in step with a prefix; the newest model.

mod bucket;
mod bundle;
mod download;
mod latest;
mod model;
mod sync;
mod sync_state;
mod upload;
mod uri;

pub use bucket::{Bucket, Object, ObjectHead};
pub use bundle::fetch_bundle;
pub use download::{Downloaded, Fetch};
pub use latest::{newest_model, resolve_latest};
pub use model::fetch_model;
pub use sync::{RunSync, SyncReport};
pub use uri::{RunPlace, S3Uri};
