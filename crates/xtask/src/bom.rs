//! Bills of materials in CycloneDX 1.6 JSON: of the software (SBOM) and of the cryptography (CBOM).
//!
//! Both are made of what the build is made of: `cargo metadata`, `Cargo.lock`, and the algorithm table. The same commit gives
//! the same bytes: there is no time and no random number in them.

use crate::CheckError;
use crate::cryptography;
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The package that is shipped.
pub(crate) const PRODUCT: &str = "strongroom";
/// Platforms that it is built for; what only another one needs is not in the bill.
const PLATFORMS: &[&str] = &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// Writes `sbom.cdx.json` and `cbom.cdx.json` into a folder.
pub(crate) fn write(root: &Path, folder: &Path) -> Result<(), CheckError> {
    std::fs::create_dir_all(folder)?;
    for (name, bill) in [("sbom.cdx.json", software(root)?), ("cbom.cdx.json", cryptography(root)?)] {
        let text = serde_json::to_string_pretty(&bill).map_err(std::io::Error::other)?;
        std::fs::write(folder.join(name), text + "\n")?;
    }
    Ok(())
}

fn bill(product: &Value, components: Vec<Value>, dependencies: Vec<Value>) -> Value {
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": product, "lifecycles": [{"phase": "build"}]},
        "components": components,
        "dependencies": dependencies,
    })
}

/// The software: every crate that is compiled into the binary or into its build scripts.
pub(crate) fn software(root: &Path) -> Result<Value, CheckError> {
    let built = Built::read(root)?;
    let product = built.product()?;
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for (id, uses) in &built.uses {
        let package = &built.metadata[id];
        if *id != product.id {
            components.push(built.component(package, "library"));
        }
        let uses: Vec<String> = uses.iter().map(|id| purl(&built.metadata[id])).collect();
        dependencies.push(json!({"ref": purl(package), "dependsOn": uses}));
    }
    Ok(bill(&built.component(product, "application"), components, dependencies))
}

/// The cryptography: what is computed, with what, by which library, and what for.
pub(crate) fn cryptography(root: &Path) -> Result<Value, CheckError> {
    let built = Built::read(root)?;
    let product = built.product()?;
    let mut provided: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut components = Vec::new();
    let mut libraries = BTreeSet::new();
    for asset in cryptography::assets() {
        let package = built.uses.keys().map(|id| &built.metadata[id]).find(|p| p.name.as_str() == asset.library);
        let package = package.ok_or(CheckError::Library(asset.library))?;
        provided.entry(purl(package)).or_default().push(asset.reference.clone());
        if libraries.insert(asset.library) {
            components.push(built.component(package, "library"));
        }
        components.push(asset.component());
    }
    let dependencies = provided.into_iter().map(|(library, assets)| json!({"ref": library, "provides": assets}));
    Ok(bill(&built.component(product, "application"), components, dependencies.collect()))
}

/// What is compiled for the binary.
struct Built {
    metadata: Metadata,
    /// Each package with what it uses.
    uses: BTreeMap<PackageId, BTreeSet<PackageId>>,
    /// SHA-256 of the archives, by name and version.
    checksums: BTreeMap<(String, String), String>,
}

impl Built {
    fn read(root: &Path) -> Result<Self, CheckError> {
        let (mut uses, mut last) = (BTreeMap::<PackageId, BTreeSet<PackageId>>::new(), None);
        for platform in PLATFORMS {
            let options = ["--locked", "--filter-platform", platform].map(str::to_owned).to_vec();
            let metadata = MetadataCommand::new()
                .current_dir(root)
                .features(CargoOpt::SomeFeatures(Vec::new()))
                .other_options(options)
                .exec()?;
            for (id, more) in reached(&metadata)? {
                uses.entry(id).or_default().extend(more);
            }
            // Packages of every platform are listed whatever the filter; only the edges differ.
            last = Some(metadata);
        }
        let metadata = last.ok_or(CheckError::Product)?;
        let checksums = checksums(&std::fs::read_to_string(root.join("Cargo.lock"))?);
        Ok(Self { metadata, uses, checksums })
    }

    fn product(&self) -> Result<&Package, CheckError> {
        product(&self.metadata)
    }

    fn component(&self, package: &Package, kind: &str) -> Value {
        let mut component = json!({
            "type": kind,
            "bom-ref": purl(package),
            "name": package.name.as_str(),
            "version": package.version.to_string(),
            "purl": purl(package),
            "scope": "required",
        });
        if let Some(text) = &package.description {
            component["description"] = json!(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        if let Some(license) = &package.license {
            component["licenses"] = json!([{"expression": expression(license)}]);
        }
        if let Some(hash) = self.checksums.get(&(package.name.to_string(), package.version.to_string())) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": hash}]);
        }
        if let Some(repository) = &package.repository {
            component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
        }
        component
    }
}

fn product(metadata: &Metadata) -> Result<&Package, CheckError> {
    let found = metadata.workspace_packages().into_iter().find(|p| p.name.as_str() == PRODUCT);
    found.ok_or(CheckError::Product)
}

/// The packages that the product is built of on one platform, each with what it uses; what only tests use is left out.
fn reached(metadata: &Metadata) -> Result<BTreeMap<PackageId, BTreeSet<PackageId>>, CheckError> {
    let resolve = metadata.resolve.as_ref().ok_or(CheckError::Product)?;
    let mut reached = BTreeMap::new();
    let mut next = vec![product(metadata)?.id.clone()];
    while let Some(id) = next.pop() {
        if reached.contains_key(&id) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == id).ok_or(CheckError::Product)?;
        let shipped = |kind: &DependencyKind| matches!(kind, DependencyKind::Normal | DependencyKind::Build);
        let uses: BTreeSet<PackageId> = node
            .deps
            .iter()
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| shipped(&kind.kind)))
            .map(|dependency| dependency.pkg.clone())
            .collect();
        next.extend(uses.iter().cloned());
        reached.insert(id, uses);
    }
    Ok(reached)
}

/// The package URL of a crate.
fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.to_string().replace('+', "%2B"))
}

/// A licence as an SPDX expression: older crates write `A/B` for `A OR B`.
fn expression(license: &str) -> String {
    license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

/// The SHA-256 of each archive that `Cargo.lock` names.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    let (mut name, mut version) = (String::new(), String::new());
    for line in lock.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let value = value.trim_matches('"').to_owned();
        match key {
            "name" => name = value,
            "version" => version = value,
            "checksum" => drop(found.insert((name.clone(), version.clone()), value)),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use strongroom_model::algorithm::ALGORITHMS;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn texts(bill: &Value, member: &str) -> Vec<String> {
        let of = |c: &Value| c[member].as_str().map(str::to_owned);
        bill["components"].as_array().unwrap().iter().filter_map(of).collect()
    }

    /// What CycloneDX 1.6 demands of every bill, and what makes one useful.
    fn check(bill: &Value) {
        assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
        let references = texts(bill, "bom-ref");
        let unique: BTreeSet<&String> = references.iter().collect();
        assert_eq!(unique.len(), references.len(), "a reference stands for one component");
        let product = bill["metadata"]["component"]["bom-ref"].as_str().unwrap().to_owned();
        let known = |r: &str| unique.contains(&r.to_owned()) || r == product;
        for dependency in bill["dependencies"].as_array().unwrap() {
            assert!(known(dependency["ref"].as_str().unwrap()), "{dependency}");
            for list in ["dependsOn", "provides"] {
                let named = dependency[list].as_array().into_iter().flatten();
                named.for_each(|r| assert!(known(r.as_str().unwrap()), "{dependency}"));
            }
        }
        for component in bill["components"].as_array().unwrap() {
            match component["type"].as_str().unwrap() {
                "library" => {
                    let license = component["licenses"][0]["expression"].as_str().unwrap_or_default();
                    assert!(!license.is_empty() && !license.contains('/'), "licence: {component}");
                    let name = component["name"].as_str().unwrap();
                    let hash = component["hashes"][0]["content"].as_str().unwrap_or_default();
                    assert!(name.starts_with(PRODUCT) || hash.len() == 64, "hash: {component}");
                }
                "cryptographic-asset" => {
                    assert!(component["cryptoProperties"]["assetType"].is_string(), "{component}");
                    assert!(component["description"].is_string(), "{component}");
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn the_software_is_listed_with_licences_and_hashes() {
        let bill = software(&root()).unwrap();
        check(&bill);
        let names = texts(&bill, "name");
        for shipped in ["rustls", "aws-lc-sys", "redb", "hyper", "strongroom-engine", "tokio"] {
            assert!(names.iter().any(|n| n == shipped), "{shipped}");
        }
        for not_shipped in ["proptest", "cargo_metadata", "strongroom-counts", "windows-sys"] {
            assert!(!names.iter().any(|n| n == not_shipped), "{not_shipped}");
        }
        assert_eq!(software(&root()).unwrap(), bill, "the same tree gives the same bill");
    }

    #[test]
    fn the_cryptography_is_listed_whole() {
        let bill = cryptography(&root()).unwrap();
        check(&bill);
        let references = texts(&bill, "bom-ref");
        for row in ALGORITHMS {
            assert!(references.contains(&cryptography::reference(row.name)), "{}", row.name);
        }
        for other in ["TLS 1.3", "TLS 1.2", "SP 800-108", "PBKDF2", "ML-KEM", "generator"] {
            let told = |c: &Value| c.to_string().contains(other);
            assert!(bill["components"].as_array().unwrap().iter().any(told), "{other}");
        }
    }

    #[test]
    fn licences_are_spdx_expressions() {
        assert_eq!(expression("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(expression("Apache-2.0 / MIT"), "Apache-2.0 OR MIT");
        assert_eq!(expression("(MIT OR Apache-2.0) AND Unicode-3.0"), "(MIT OR Apache-2.0) AND Unicode-3.0");
    }
}
