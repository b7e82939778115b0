//! Points beyond those to be kept go, then the blobs that no point names. Steps: a point loses its name (it gets
//! `.part`), which is made durable; its folder goes; the pool is swept. A stop leaves a `.part`, which the next
//! backup removes, and has the sweep done then. Before any of it, the lists of the points that stay are compared
//! with their records: with a damaged one nothing goes.

use std::collections::HashSet;
use std::path::Path;

use pierhead_storage_format::backup::{BLOBS, PART, POINTS, point_dir};
use pierhead_storage_format::{Algorithm, Digest, paths};

use super::draft::has_its_list;
use super::error::{BackupError, io};
use super::folder::{Folder, Found, State};
use super::lists::{Lines, Merged};
use super::{Stage, Watch};

/// What went.
#[derive(Default)]
pub(super) struct Pruned {
    pub(super) points: Vec<String>,
    pub(super) freed: u64,
}

/// Keeps the `keep` newest points; the one that was just made in any case, whatever the clock says. Sweeps if
/// a point went, or an `interrupted` one had.
pub(super) fn prune(
    folder: &Folder,
    keep: Option<usize>,
    (made, interrupted): (&str, bool),
    watch: &mut Watch<'_>,
) -> Result<Pruned, BackupError> {
    let mut pruned = Pruned::default();
    let Some(keep) = keep else { return Ok(pruned) };
    watch(Stage::Pruning, 0, 0);
    let points = folder.points()?;
    let older = points.iter().rev().filter(|p| matches!(p.state, State::Whole(_)) && p.name != made);
    let going: Vec<&str> = older.skip(keep.saturating_sub(1)).map(|point| point.name.as_str()).collect();
    if going.is_empty() && !interrupted {
        return Ok(pruned);
    }
    prove_lists(folder, points.iter().filter(|point| !going.contains(&point.name.as_str())))?;
    for point in points.iter().filter(|point| going.contains(&point.name.as_str())) {
        forget(folder, &point.name)?;
        pruned.points.push(point.name.clone());
    }
    if let Some(damaged) = points.iter().find(|point| matches!(point.state, State::Damaged(_))) {
        tracing::warn!(backup = %damaged.name, "a backup whose record is damaged: blobs are kept, since it may name them; remove its folder to free them");
        return Ok(pruned);
    }
    pruned.freed = sweep(folder, watch)?;
    Ok(pruned)
}

/// Refuses if the list of a point that stays is not the one it was made with: what the list does not name goes.
fn prove_lists<'a>(folder: &Folder, stay: impl Iterator<Item = &'a Found>) -> Result<(), BackupError> {
    for found in stay {
        let State::Whole(point) = &found.state else { continue };
        let dir = point_dir(&found.name);
        let holds = has_its_list(folder.disk.as_ref(), &dir, point);
        if !holds.map_err(io("reading", &folder.root, &dir))? {
            return Err(BackupError::ListDamaged(found.name.clone()));
        }
    }
    Ok(())
}

fn forget(folder: &Folder, name: &str) -> Result<(), BackupError> {
    let (from, to) = (point_dir(name), point_dir(&format!("{name}{PART}")));
    let forget = || {
        folder.disk.rename(&from, &to)?;
        folder.disk.sync_dir(Path::new(POINTS))?;
        folder.disk.remove_dir(&to)
    };
    forget().map_err(io("removing", &folder.root, &from))
}

/// Removes what no point names, `.part` files included; bytes that gives. What is not named like ours stays.
fn sweep(folder: &Folder, watch: &mut Watch<'_>) -> Result<u64, BackupError> {
    let reading = io("reading", &folder.root, Path::new(POINTS));
    let points = folder.points()?;
    let lists =
        points.iter().map(|point| Lines::open(folder.disk.as_ref(), &point_dir(&point.name).join(BLOBS)));
    let lists = lists.collect::<std::io::Result<Vec<_>>>().map_err(&reading)?;
    let mut named = Merged::new(lists).map_err(&reading)?;
    let (mut freed, mut looked) = (0, 0);
    for algorithm in Algorithm::ALL {
        for first in 0..=u8::MAX {
            watch(Stage::Pruning, looked, 0);
            let mut kept = HashSet::new();
            let is_here =
                |digest: &Digest| digest.algorithm() == algorithm && digest.raw().first() == Some(&first);
            while named.peek().is_some_and(|(digest, _)| is_here(&digest)) {
                kept.extend(named.next().map_err(&reading)?.map(|(digest, _)| digest));
            }
            let dir = paths::blob_dir(algorithm, first);
            for entry in folder.disk.list(&dir).map_err(io("listing", &folder.root, &dir))? {
                looked += 1;
                let path = dir.join(&entry.name);
                if !is_kept(&path.display().to_string(), &kept) {
                    folder.disk.remove_file(&path).map_err(io("removing", &folder.root, &path))?;
                    freed += entry.len;
                }
            }
        }
    }
    Ok(freed)
}

fn is_kept(path: &str, kept: &HashSet<Digest>) -> bool {
    let own = path.strip_suffix(super::pool::PART);
    let digest = |path: &str| paths::parse_outboard(path).or_else(|| paths::parse_blob(path));
    match own {
        Some(path) => digest(path).is_none(),
        None => digest(path).is_none_or(|digest| kept.contains(&digest)),
    }
}
