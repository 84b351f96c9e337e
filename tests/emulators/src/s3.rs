//! An S3 on a folder.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;

use crate::CREDENTIALS;

/// A running S3 that checks signatures.
pub struct S3 {
    /// Its address.
    pub url: String,
    folder: tempfile::TempDir,
}

impl S3 {
    /// Starts one with these buckets on a free port of loopback.
    pub async fn start(buckets: &[&str]) -> Self {
        Self::start_on(IpAddr::from([127, 0, 0, 1]), buckets).await
    }

    /// Starts one on an address of this machine that containers reach, such as their network's gateway.
    pub async fn start_on(address: IpAddr, buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).unwrap();
        }
        let (key, secret) = CREDENTIALS;
        let mut service =
            s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(s3s::auth::SimpleAuth::from_single(key, secret));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server's.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Self { url, folder }
    }

    /// The file behind an object.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// Puts a folder's files below a prefix.
    pub fn put_folder(&self, from: &Path, bucket: &str, prefix: &str) {
        let mut pending = vec![(from.to_path_buf(), self.object(bucket, prefix))];
        while let Some((from, to)) = pending.pop() {
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(&from).unwrap().flatten() {
                let (path, target) = (entry.path(), to.join(entry.file_name()));
                if path.is_dir() {
                    pending.push((path, target));
                } else {
                    std::fs::copy(&path, &target).unwrap();
                }
            }
        }
    }

    /// Keys of a bucket, sorted.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let root = self.folder.path().join(bucket);
        let (mut pending, mut keys) = (vec![root.clone()], Vec::new());
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    keys.push(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        keys.retain(|key| !key.split('/').any(|part| part.starts_with('.')));
        keys.sort();
        keys
    }
}
