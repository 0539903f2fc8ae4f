//! `Location`: a folder, wherever it lies.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreScheme};
use tidegate_api::{Error, Result};
use url::Url;

use crate::io;

/// Settings of an object store, by the names of the `object_store` crate. They may hold secrets.
pub type StoreOptions = BTreeMap<String, String>;

/// A folder on the local disk or on an object store. Clones share the store.
#[derive(Clone)]
pub struct Location {
    url: Url,
    local: Option<PathBuf>,
    store: Arc<dyn ObjectStore>,
    prefix: StorePath,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            Some(path) => path.display().fmt(f),
            None => shown(&self.url).fmt(f),
        }
    }
}

impl Location {
    /// Opens `text`: a path (relative ones begin at `base`) or a URL. Touches nothing outside.
    ///
    /// # Errors
    /// `Config` if the URL, its scheme or a setting is wrong.
    pub fn open(text: &str, options: &StoreOptions, base: &Path) -> Result<Self> {
        match Url::parse(text) {
            Ok(url) if url.scheme() == "file" => {
                let path = url.to_file_path().map_err(|()| wrong(text, "expected file:///<absolute path>"))?;
                Self::on_disk(&path, options)
            }
            // One letter is a drive, not a scheme.
            Ok(url) if url.scheme().len() > 1 => Self::on_store(url, options),
            _ => Self::on_disk(&base.join(text), options),
        }
    }

    /// A folder on the local disk; a relative path begins at the current one.
    ///
    /// # Errors
    /// `Config` if the path can't be a URL.
    pub fn at(path: &Path) -> Result<Self> {
        Self::on_disk(path, &StoreOptions::new())
    }

    /// A folder of a store that is at hand already, under the name `url` in messages.
    pub fn of_store(url: Url, store: Arc<dyn ObjectStore>, prefix: StorePath) -> Self {
        Self { url, local: None, store, prefix }
    }

    fn on_disk(path: &Path, options: &StoreOptions) -> Result<Self> {
        let absolute = std::path::absolute(path).map_err(|e| Error::config(path.display().to_string()).because(e))?;
        let absolute = without_parents(&absolute);
        let name = absolute.display().to_string();
        if let Some(key) = options.keys().next() {
            return Err(wrong(&name, &format!("a local folder takes no storage settings, found '{key}'")));
        }
        let url = Url::from_directory_path(&absolute).map_err(|()| wrong(&name, "expected a path"))?;
        let prefix =
            StorePath::from_absolute_path(&absolute).map_err(|e| wrong(&name, "expected a path").because(e))?;
        Ok(Self { url, local: Some(absolute), store: Arc::new(LocalFileSystem::new()), prefix })
    }

    fn on_store(url: Url, options: &StoreOptions) -> Result<Self> {
        let shown = shown(&url);
        // The store's own words would repeat the URL with its password.
        let (scheme, prefix) = ObjectStoreScheme::parse(&url)
            .map_err(|_| wrong(&shown, "expected a path, or a URL of s3, az, abfss or gs"))?;
        let whole = url.as_str();
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let mut builder = AmazonS3Builder::from_env().with_url(whole);
                if let Some(connector) = io::connector() {
                    builder = builder.with_http_connector(connector);
                }
                for (key, value) in options {
                    builder = builder.with_config(setting(key, &shown)?, value);
                }
                Arc::new(builder.build().map_err(|e| unusable(&shown, e))?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_url(whole);
                if let Some(connector) = io::connector() {
                    builder = builder.with_http_connector(connector);
                }
                for (key, value) in options {
                    builder = builder.with_config(setting(key, &shown)?, value);
                }
                Arc::new(builder.build().map_err(|e| unusable(&shown, e))?)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_url(whole);
                if let Some(connector) = io::connector() {
                    builder = builder.with_http_connector(connector);
                }
                for (key, value) in options {
                    builder = builder.with_config(setting(key, &shown)?, value);
                }
                Arc::new(builder.build().map_err(|e| unusable(&shown, e))?)
            }
            _ => return Err(wrong(&shown, "expected a path, or a URL of s3, az, abfss or gs")),
        };
        Ok(Self { url, local: None, store, prefix })
    }

    /// The folder's own URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path, if the folder lies on the local disk.
    pub fn local(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    /// The store; paths in it begin with [`prefix`](Self::prefix).
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Where the folder begins in its store.
    pub fn prefix(&self) -> &StorePath {
        &self.prefix
    }

    /// The store's path of `name` in this folder; slashes in `name` are folders.
    pub fn path(&self, name: &str) -> StorePath {
        name.split('/').filter(|it| !it.is_empty()).fold(self.prefix.clone(), |path, part| path.join(part))
    }
}

/// The path without `..`: links above one are followed first, as far as they exist.
fn without_parents(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| match part {
        Component::ParentDir => {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
            plain
        }
        other => plain.join(other),
    })
}

/// User and password of a URL stay out of messages.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    // Both fail only where a URL can't have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

fn setting<K: FromStr>(key: &str, location: &str) -> Result<K> {
    key.to_ascii_lowercase().parse().map_err(|_| wrong(location, &format!("storage setting '{key}' is not known")))
}

fn wrong(location: &str, expected: &str) -> Error {
    Error::config(format!("location '{location}': {expected}"))
}

fn unusable(location: &str, error: object_store::Error) -> Error {
    wrong(location, "its settings can't be used").because(error)
}
