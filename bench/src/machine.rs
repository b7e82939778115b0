//! The machine's own limits, measured in the run they are compared with: hashing, encryption,
//! loopback, disk.
//! Each takes about a second of one core or one disk and uses nothing of the registries.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::content;
use crate::error::BenchError;
use crate::procfs;

const BLOCK: usize = 1 << 20;
const SMALL: usize = 4096;
/// The most plain text a TLS record holds.
const RECORD: usize = 16 << 10;

/// What this machine can do at best. MB are 10^6 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The processor's name.
    pub processor: String,
    /// Its hardware threads.
    pub threads: usize,
    /// Memory in GiB.
    pub memory_gib: f64,
    /// The kernel's release.
    pub kernel: String,
    /// SHA-256 of memory on one core, MB/s.
    pub sha256_mb_s: f64,
    /// AES-128-GCM of records as TLS makes them, in memory, on one core, MB/s: the limit of a TLS stream, which
    /// each end pays.
    pub aes128gcm_mb_s: f64,
    /// One TCP stream from this process to itself, MB/s.
    pub loopback_mb_s: f64,
    /// Files of 4 KiB made, written, flushed and renamed one after another, a second.
    pub small_files_s: f64,
    /// One file written in blocks of 1 MiB and flushed at its end, MB/s.
    pub write_mb_s: f64,
}

impl Limits {
    /// The machine in one line.
    pub fn line(&self) -> String {
        let Self { processor, threads, memory_gib, kernel, .. } = self;
        format!("{processor}, {threads} threads, {memory_gib:.0} GiB, Linux {kernel}")
    }
}

/// Measures everything; files are made in `folder`. `blocks` is the amount in MiB for each.
pub fn measure(folder: &Path, blocks: u32) -> Result<Limits, BenchError> {
    let procfs::Processor { name: processor, threads } = procfs::processor()?;
    let small_files_s = small_files(folder, Duration::from_millis(u64::from(blocks.min(1000))));
    Ok(Limits {
        processor,
        threads,
        memory_gib: procfs::memory_gib()?,
        kernel: procfs::kernel()?,
        sha256_mb_s: sha256(blocks),
        aes128gcm_mb_s: aes128gcm(blocks).map_err(BenchError::io("measuring AES-128-GCM"))?,
        loopback_mb_s: loopback(blocks).map_err(BenchError::io("measuring loopback"))?,
        small_files_s: small_files_s.map_err(BenchError::io("measuring small files"))?,
        write_mb_s: write(folder, blocks).map_err(BenchError::io("measuring the disk"))?,
    })
}

fn sha256(blocks: u32) -> f64 {
    let block = content::random(1, BLOCK);
    let mut hash = Sha256::new();
    let begun = Instant::now();
    for _ in 0..blocks {
        hash.update(&block);
    }
    black_box(hash.finalize());
    rate(blocks, begun)
}

fn aes128gcm(blocks: u32) -> io::Result<f64> {
    let refused = |_| io::Error::other("the library refused");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).map_err(refused)?);
    let mut record = content::random(1, RECORD).to_vec();
    let begun = Instant::now();
    for number in 0..blocks * (BLOCK / RECORD) as u32 {
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&number.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record).map_err(refused)?;
        black_box(tag.as_ref());
    }
    Ok(rate(blocks, begun))
}

fn loopback(blocks: u32) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let begun = Instant::now();
    thread::scope(|scope| {
        let sending = scope.spawn(move || -> io::Result<()> {
            let block = content::random(1, BLOCK);
            let mut stream = TcpStream::connect(address)?;
            (0..blocks).try_for_each(|_| stream.write_all(&block))
        });
        let received = listener.accept().and_then(|(stream, _)| swallow(stream));
        let sent = sending.join().unwrap_or_else(|_| Err(io::Error::other("the sender failed")));
        sent.and(received)
    })?;
    Ok(rate(blocks, begun))
}

fn swallow(mut stream: TcpStream) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    while stream.read(&mut block)? > 0 {}
    Ok(())
}

fn small_files(folder: &Path, limit: Duration) -> io::Result<f64> {
    let bytes = content::random(1, SMALL);
    let begun = Instant::now();
    let mut made = 0_u32;
    while begun.elapsed() < limit {
        let path = folder.join(format!("small-{made}"));
        let mut file = File::create(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&path, path.with_extension("done"))?;
        made += 1;
    }
    Ok(f64::from(made) / begun.elapsed().as_secs_f64())
}

fn write(folder: &Path, blocks: u32) -> io::Result<f64> {
    let block = content::random(1, BLOCK);
    let begun = Instant::now();
    let mut file = File::create(folder.join("large"))?;
    for _ in 0..blocks {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    Ok(rate(blocks, begun))
}

fn rate(blocks: u32, begun: Instant) -> f64 {
    f64::from(blocks) * BLOCK as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_measured() {
        let folder = tempfile::tempdir().expect("the system has a temporary folder");
        let limits = measure(folder.path(), 2).expect("this machine hashes, sends and writes");
        let rates = [
            limits.sha256_mb_s,
            limits.aes128gcm_mb_s,
            limits.loopback_mb_s,
            limits.small_files_s,
            limits.write_mb_s,
        ];
        assert!(rates.iter().all(|rate| rate.is_finite() && *rate > 0.0), "{limits:?}");
    }
}
