//! Any sequence of calls answers as a small model does, lists what the model has, and leaves a store that `fsck`
//! finds nothing wrong with.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::client::House;
use super::support::Rng;

const STEPS: usize = 250;
const ORGANISATIONS: [&str; 3] = ["group", "group-b", "other"];
const IMAGES: [&str; 4] = ["a", "a/b", "web", "x.y/z"];
const TAGS: [&str; 3] = ["latest", "v1", "v2"];

#[derive(Default)]
struct Image {
    public: bool,
    shared: bool,
    tags: BTreeSet<&'static str>,
    pulls: u64,
}

/// What there is, as the administrator of `main` sees it.
#[derive(Default)]
struct Model {
    organisations: BTreeMap<&'static str, BTreeMap<&'static str, Image>>,
    /// Where `ann` was granted something.
    granted: BTreeSet<&'static str>,
}

struct Run {
    house: House,
    model: Model,
    rng: Rng,
}

impl Run {
    fn any(&mut self, of: &[&'static str]) -> &'static str {
        of[self.rng.below(of.len())]
    }

    fn step(&mut self) {
        let organisation = self.any(&ORGANISATIONS);
        let image = self.any(&IMAGES);
        match self.rng.below(16) {
            0 | 1 => self.make_organisation(organisation),
            2 => self.remove_organisation(organisation),
            3 => self.make_image(organisation, image),
            4 => self.remove_image(organisation, image),
            5..8 => self.push(organisation, image),
            8 => self.grant(organisation),
            9 => self.revoke(organisation),
            10 => self.share(organisation, image),
            11 => self.name_anew(organisation, image),
            12 => self.take_away(organisation, image),
            13 | 14 => self.pull(organisation, image),
            _ => self.change(organisation, image),
        }
    }

    fn make_organisation(&mut self, name: &'static str) {
        let answer = self.house.admin.post("/v2/manage/namespaces", json!({"namespace": name}));
        if self.model.organisations.contains_key(name) {
            answer.refusal(409, "4090060");
        } else {
            answer.empty(201);
            self.model.organisations.insert(name, BTreeMap::new());
        }
    }

    fn remove_organisation(&mut self, name: &'static str) {
        let answer = self.house.admin.delete(&format!("/v2/manage/namespaces/{name}"));
        match self.model.organisations.get(name).map(BTreeMap::is_empty) {
            None => drop(answer.refusal(404, "4040058")),
            Some(false) => drop(answer.refusal(406, "4060074")),
            Some(true) => {
                answer.expect(204);
                self.model.organisations.remove(name);
                self.model.granted.remove(name);
            }
        }
    }

    fn make_image(&mut self, organisation: &'static str, name: &'static str) {
        let path = format!("/v2/manage/namespaces/{organisation}/repos");
        let answer = self.house.admin.post(&path, json!({"repository": name, "is_public": false}));
        match self.model.organisations.get_mut(organisation) {
            None => drop(answer.refusal(404, "4040058")),
            Some(images) if images.contains_key(name) => drop(answer.refusal(409, "4090006")),
            Some(images) => {
                answer.empty(200);
                images.insert(name, Image::default());
            }
        }
    }

    fn remove_image(&mut self, organisation: &'static str, name: &'static str) {
        let answer = self.house.admin.delete(&path(organisation, name));
        match self.model.organisations.get_mut(organisation).map(|images| images.remove(name)) {
            None => drop(answer.refusal(404, "4040058")),
            Some(None) => drop(answer.refusal(404, "4040010")),
            Some(Some(_)) => drop(answer.expect(204)),
        }
    }

    fn push(&mut self, organisation: &'static str, name: &'static str) {
        let tag = self.any(&TAGS);
        // Few different images, so that repositories have bytes in common.
        let seed = self.rng.below(3) as u64;
        let Some(images) = self.model.organisations.get_mut(organisation) else { return };
        self.house.push(&self.house.admin, &format!("{organisation}/{name}"), tag, seed);
        images.entry(name).or_default().tags.insert(tag);
    }

    fn name_anew(&mut self, organisation: &'static str, name: &'static str) {
        let (source, new, moves) = (self.any(&TAGS), self.any(&TAGS), self.rng.below(2) == 0);
        let body = json!({"source_tag": source, "destination_tag": new, "override": moves});
        let answer = self.house.admin.post(&format!("{}/tags", path(organisation, name)), body);
        match self.model.organisations.get_mut(organisation).map(|images| images.get_mut(name)) {
            None => drop(answer.refusal(404, "4040058")),
            Some(None) => drop(answer.refusal(404, "4040010")),
            Some(Some(image)) if !image.tags.contains(source) => drop(answer.refusal(404, "4040048")),
            Some(Some(image)) if image.tags.contains(new) && !moves => drop(answer.refusal(409, "4090006")),
            Some(Some(image)) => {
                answer.empty(201);
                image.tags.insert(new);
            }
        }
    }

    fn take_away(&mut self, organisation: &'static str, name: &'static str) {
        let tag = self.any(&TAGS);
        let answer = self.house.admin.delete(&format!("{}/tags/{tag}", path(organisation, name)));
        match self.model.organisations.get_mut(organisation).map(|images| images.get_mut(name)) {
            None => drop(answer.refusal(404, "4040058")),
            Some(None) => drop(answer.refusal(404, "4040010")),
            Some(Some(image)) => match image.tags.remove(tag) {
                true => drop(answer.expect(204)),
                false => drop(answer.refusal(404, "4040048")),
            },
        }
    }

    fn pull(&mut self, organisation: &'static str, name: &'static str) {
        let (tag, admin) = (self.any(&TAGS), &self.house.admin);
        let target = format!("/v2/{organisation}/{name}/manifests/{tag}");
        let answer = admin.http.get(&target).header("Authorization", admin.login()).send();
        let image = self.model.organisations.get_mut(organisation).and_then(|images| images.get_mut(name));
        match image.filter(|image| image.tags.contains(tag)) {
            Some(image) => {
                answer.expect(200);
                image.pulls += 1;
            }
            None => assert!([403, 404].contains(&answer.status), "{answer}"),
        }
    }

    fn grant(&mut self, organisation: &'static str) {
        let body = json!([{"user_id": self.house.ann.id, "user_name": "ann", "auth": 1}]);
        let answer = self.house.admin.post(&format!("/v2/manage/namespaces/{organisation}/access"), body);
        if !self.model.organisations.contains_key(organisation) {
            answer.refusal(404, "4040058");
        } else if self.model.granted.insert(organisation) {
            answer.empty(200);
        } else {
            answer.refusal(409, "4090076");
        }
    }

    fn revoke(&mut self, organisation: &'static str) {
        let (admin, body) = (&self.house.admin, json!([self.house.ann.id]));
        let answer =
            admin.send("DELETE", &format!("/v2/manage/namespaces/{organisation}/access"), Some(body));
        if !self.model.organisations.contains_key(organisation) {
            answer.refusal(404, "4040058");
        } else if self.model.granted.remove(organisation) {
            answer.expect(204);
        } else {
            answer.refusal(404, "4040078");
        }
    }

    fn share(&mut self, organisation: &'static str, name: &'static str) {
        let shares =
            format!("/v2/manage/namespaces/{organisation}/repositories/{}/access-domains", dollars(name));
        let admin = &self.house.admin;
        let image = self.model.organisations.get_mut(organisation).map(|images| images.get_mut(name));
        if let Some(Some(image)) = image.filter(|image| image.as_ref().is_some_and(|image| image.shared)) {
            admin.delete(&format!("{shares}/beta")).expect(204);
            image.shared = false;
            return;
        }
        let body = json!({"access_domain": "beta", "permit": "read", "deadline": "forever"});
        let answer = admin.post(&shares, body);
        match self.model.organisations.get_mut(organisation).map(|images| images.get_mut(name)) {
            None => drop(answer.refusal(404, "4040058")),
            Some(None) => drop(answer.refusal(404, "4040010")),
            Some(Some(image)) if image.public => drop(answer.refusal(400, "4001025")),
            Some(Some(image)) => {
                answer.empty(201);
                image.shared = true;
            }
        }
    }

    fn change(&mut self, organisation: &'static str, name: &'static str) {
        let public = self.rng.below(2) == 0;
        let body = json!({"is_public": public, "description": "d".repeat(self.rng.below(5000))});
        let answer = self.house.admin.patch(&path(organisation, name), body);
        match self.model.organisations.get_mut(organisation).map(|images| images.get_mut(name)) {
            None => drop(answer.refusal(404, "4040058")),
            Some(None) => drop(answer.refusal(404, "4040010")),
            Some(Some(image)) => {
                answer.empty(201);
                image.public = public;
            }
        }
    }

    /// Holds every list to the model.
    fn compare(&self) {
        let admin = &self.house.admin;
        let mut expected = Vec::new();
        let (mut shared, mut granted) = (Vec::new(), Vec::new());
        for (organisation, images) in &self.model.organisations {
            for (name, image) in images {
                let whole = format!("{organisation}/{name}");
                let count = image.tags.len();
                expected.push(json!([whole, image.tags, count, image.public, image.pulls]));
                if image.shared && !image.public {
                    shared.push(whole.clone());
                }
                if image.public || self.model.granted.contains(organisation) {
                    granted.push(whole);
                }
            }
        }
        let listed = admin.get("/v2/manage/repos?limit=1000").expect(200).json();
        let of = |item: &Value| {
            let (count, pulls) = (&item["num_images"], &item["num_download"]);
            json!([whole(item), item["tags"], count, item["is_public"], pulls])
        };
        let listed: Vec<Value> = listed.as_array().expect("a list").iter().map(of).collect();
        assert_eq!(listed, expected);
        let names =
            |answer: Value| -> Vec<String> { answer.as_array().expect("a list").iter().map(whole).collect() };
        let anns = names(self.house.ann.get("/v2/manage/repos?limit=1000").expect(200).json());
        assert_eq!(anns, granted);
        let bettys = self.house.betty.get("/v2/manage/shared-repositories?center=thirdparty").expect(200);
        let mut bettys = names(bettys.json());
        // A public image is open to everybody; a share of it is still there.
        bettys.retain(|name| shared.contains(name));
        assert_eq!(bettys.len(), shared.len());
        let all = admin.get("/v2/manage/namespaces").expect(200).json();
        let all = all["namespaces"].as_array().expect("a list").iter();
        let counts: BTreeMap<&str, u64> = all
            .map(|one| (one["name"].as_str().expect("text"), one["repo_count"].as_u64().expect("a number")))
            .filter(|(name, _)| *name != "library")
            .collect();
        let expected = self.model.organisations.iter().map(|(name, images)| (*name, images.len() as u64));
        assert_eq!(counts, expected.collect());
    }
}

fn dollars(name: &str) -> String {
    name.replace('/', "$")
}

fn path(organisation: &str, name: &str) -> String {
    format!("/v2/manage/namespaces/{organisation}/repos/{}", dollars(name))
}

fn whole(item: &Value) -> String {
    format!("{}/{}", item["namespace"].as_str().expect("text"), item["name"].as_str().expect("text"))
}

#[test]
fn any_sequence_of_calls_answers_as_the_model_does_and_leaves_a_clean_store() {
    let Some(house) = House::open() else { return };
    let rng = Rng::named("any sequence of calls");
    let mut run = Run { house, model: Model::default(), rng };
    for step in 0..STEPS {
        run.step();
        if step % 25 == 0 {
            run.compare();
        }
    }
    run.compare();
    assert!(run.house.server.stop().success());
    let checked = run.house.server.command(&["fsck"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
