//! Files up: one request for small ones, parts for big ones, each part sent again by itself and never twice after a
//! restart.
//!
//! Every part carries a CRC-32 that S3 checks; the object carries the SHA-256 of the whole, which downloads check.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::bucket::{Bucket, SHA256, content_type};
use super::sync_state::{FileStamp, Multipart, Part};
use crate::error::AwsError;
use crate::fault::Fault;

/// Bytes from which a file goes up in parts, and of a part unless there would be too many.
pub(super) const PART_BYTES: u64 = 8 << 20;
/// Parts of an object, at most.
const MOST_PARTS: u64 = 10_000;
/// Parts under way at once.
const PARALLEL: usize = 4;

/// Keeps what a multipart upload has done, after every part.
pub(super) type Keep<'a> = &'a mut (dyn FnMut(&Multipart) -> Result<(), AwsError> + Send);

impl Bucket {
    /// Uploads a file. `earlier` is an unfinished upload of the same content, `keep` is told of every part done.
    pub(super) async fn upload(
        &self,
        key: &str,
        path: &Path,
        stamp: &FileStamp,
        earlier: Option<Multipart>,
        keep: Keep<'_>,
    ) -> Result<(), AwsError> {
        if stamp.size <= PART_BYTES {
            let bytes = std::fs::read(path).map_err(AwsError::file(path))?;
            return self.put(key, &bytes, content_type(key), Some(&stamp.sha256)).await;
        }
        if let Some(earlier) = earlier {
            match self.upload_parts(key, path, stamp, earlier, keep).await {
                // The bucket has forgotten the unfinished upload: begin anew.
                Err(error) if is_unknown_upload(&error) => {}
                done => return done,
            }
        }
        let begun = self.begin(key, stamp).await?;
        self.upload_parts(key, path, stamp, begun, keep).await
    }

    async fn begin(&self, key: &str, stamp: &FileStamp) -> Result<Multipart, AwsError> {
        let request = || {
            let create = self.client.create_multipart_upload().bucket(&self.name).key(key);
            let create = create.content_type(content_type(key)).metadata(SHA256, &stamp.sha256);
            create.checksum_algorithm(ChecksumAlgorithm::Crc32).send()
        };
        let answer = self.retry.send("CreateMultipartUpload", &self.target(key), request).await?;
        let upload_id = answer.upload_id().unwrap_or_default().to_string();
        let part_bytes = PART_BYTES.max(stamp.size.div_ceil(MOST_PARTS));
        Ok(Multipart { upload_id, part_bytes, stamp: stamp.clone(), parts: Vec::new() })
    }

    async fn upload_parts(
        &self,
        key: &str,
        path: &Path,
        stamp: &FileStamp,
        mut upload: Multipart,
        keep: Keep<'_>,
    ) -> Result<(), AwsError> {
        keep(&upload)?;
        let file = File::open(path).map_err(AwsError::file(path))?;
        let count = stamp.size.div_ceil(upload.part_bytes.max(1));
        let missing: Vec<u64> =
            (1..=count).filter(|n| !upload.parts.iter().any(|p| u64::from(p.number) == *n)).collect();
        let (id, part_bytes) = (upload.upload_id.clone(), upload.part_bytes);
        let mut parts = stream::iter(missing)
            .map(|number| self.upload_part(key, &id, &file, path, number, part_bytes, stamp.size))
            .buffer_unordered(PARALLEL);
        while let Some(part) = parts.try_next().await? {
            upload.parts.push(part);
            keep(&upload)?;
        }
        drop(parts);
        self.complete(key, upload).await
    }

    #[allow(clippy::too_many_arguments)] // One request with all it says.
    async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        file: &File,
        path: &Path,
        number: u64,
        part_bytes: u64,
        size: u64,
    ) -> Result<Part, AwsError> {
        let start = (number - 1) * part_bytes;
        let length = part_bytes.min(size.saturating_sub(start));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, start).map_err(AwsError::file(path))?;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let request = || {
            let part = self.client.upload_part().bucket(&self.name).key(key).upload_id(upload_id);
            let part = part.part_number(i32::try_from(number).unwrap_or(i32::MAX));
            part.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(bytes.clone())).send()
        };
        let answer = self.retry.send("UploadPart", &self.target(key), request).await?;
        Ok(Part {
            number,
            etag: answer.e_tag().unwrap_or_default().into(),
            crc32: answer.checksum_crc32().map(String::from),
        })
    }

    async fn complete(&self, key: &str, mut upload: Multipart) -> Result<(), AwsError> {
        upload.parts.sort_by_key(|p| p.number);
        let parts = upload.parts.iter().map(|part| {
            let number = i32::try_from(part.number).unwrap_or(i32::MAX);
            let done = CompletedPart::builder().part_number(number).e_tag(&part.etag);
            done.set_checksum_crc32(part.crc32.clone()).build()
        });
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let request = || {
            let complete = self.client.complete_multipart_upload().bucket(&self.name).key(key);
            complete.upload_id(&upload.upload_id).multipart_upload(parts.clone()).send()
        };
        match self.retry.send("CompleteMultipartUpload", &self.target(key), request).await {
            Ok(_) => Ok(()),
            Err(error) if is_unknown_upload(&error) => {
                // It may be unknown because it was completed already, and the answer was lost on its way.
                let there = self.head(key).await?.and_then(|head| head.sha256);
                if there.as_ref() == Some(&upload.stamp.sha256) { Ok(()) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }
}

/// True where the bucket does not know the unfinished upload (or says so in other words).
fn is_unknown_upload(error: &AwsError) -> bool {
    matches!(error.fault(), Some(Fault::NoObject | Fault::Denied | Fault::Refused))
}
