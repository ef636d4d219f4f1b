//! Who applies, changes, suspends, overwrites, takes over and deletes objects, at any moment, whatever state they are in.

use super::{
    COPY, DISTRIBUTION, KINDS, REGIONS, STEP, Soak,
    books::{Thing, astray, called, copy_in},
};
use crate::{
    harness::{condition, distribution, image_of, is_ready},
    proof::life::change,
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom, seq::SliceRandom};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Mutex, time::Duration};
use tokio::time::sleep;

const FINALIZER: &str = "cloudimages.dev/external";

/// One after the other, objects are made, and things are done to them.
pub async fn live(soak: &Soak, number: u64) {
    let mut user = User { soak, random: soak.random(number), number, made: 0 };
    while !soak.is_over() {
        if let Err(stuck) = user.one().await {
            soak.books.violation(stuck);
        }
    }
}

struct User<'a> {
    soak: &'a Soak,
    random: StdRng,
    number: u64,
    made: u64,
}

/// Whatever is there of what was to stay, each is taken over once.
static TAKEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);

impl User<'_> {
    /// An object from its creation to its end, or until everything is over.
    async fn one(&mut self) -> Result<(), String> {
        let kind = *KINDS.choose(&mut self.random).expect("a kind");
        let name = format!("soak-{}-{}", self.number, self.made);
        self.made += 1;
        let mut object = self.object(kind, &name);
        object["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
        if kind == "ImageComponent" && self.random.random_bool(0.5) {
            object["spec"]["versionPolicy"] = json!("Bump");
            object["spec"]["versionsToKeep"] = json!(self.random.random_range(1..4));
        }
        match self.random.random_range(0..10) {
            0 if kind != "ImageExport" && kind != DISTRIBUTION => {
                object["spec"]["deletionPolicy"] = json!("Retain");
            }
            1 if self.take_over(kind, &mut object) => {}
            2 => {
                object["spec"]["suspend"] = json!(true);
                self.expect_end_of(kind, &name);
            }
            _ => self.expect_end_of(kind, &name),
        }
        self.create(kind, object.clone()).await;
        if self.random.random_bool(0.6) && object["spec"]["suspend"] != true {
            self.until_settled(kind, &name).await?;
        }
        for _ in 0..self.random.random_range(0..5) {
            if self.soak.is_over() {
                return Ok(());
            }
            self.act(kind, &name).await?;
            sleep(Duration::from_millis(self.random.random_range(0..2500))).await;
        }
        if self.soak.is_over() {
            return Ok(());
        }
        self.remove(kind, &name).await?;
        // The same name again, for another object, as soon as it is free.
        let again = self.random.random_bool(0.15) && object["spec"]["deletionPolicy"].is_null();
        // The files of two exports could not be told apart.
        if again && kind != "ImageExport" && !self.soak.is_over() {
            self.did("created again under the same name");
            object["spec"]["suspend"] = json!(false);
            self.create(kind, object).await;
            self.until_settled(kind, &name).await?;
            self.remove(kind, &name).await?;
        }
        Ok(())
    }

    /// The smallest one of the kind.
    fn object(&mut self, kind: &str, name: &str) -> Value {
        if kind != DISTRIBUTION {
            return image_of(kind, name);
        }
        let spec = json!({ "maxParallel": self.random.random_range(1..4) });
        let mut object = distribution(name, &[], spec);
        object["spec"]["regions"] = self.regions();
        object["spec"]["forProvider"]["destinationImageName"] = json!(called(name));
        object
    }

    /// Some, in any order.
    fn regions(&mut self) -> Value {
        let mut regions = REGIONS;
        regions.shuffle(&mut self.random);
        let count = self.random.random_range(1..=regions.len());
        regions[..count].iter().map(|region| json!({ "regionId": region })).collect()
    }

    fn expect_end_of(&self, kind: &'static str, name: &str) {
        self.soak.books.expect_end_of(kind, name);
        if kind == DISTRIBUTION {
            for region in REGIONS {
                self.soak.books.expect_end_of(COPY, &copy_in(name, region));
            }
        }
    }

    fn did(&self, what: &str) {
        self.soak.books.did("acts of users", what);
    }

    async fn create(&self, kind: &str, object: Value) {
        // Refused at admission is refused for good.
        match self.soak.world.try_create(object).await {
            Ok(_) => self.soak.books.did("objects created", kind),
            Err(refusal) => self.soak.books.violation(format!("the test's object is refused: {refusal}")),
        }
    }

    /// Has the object take over what an earlier one left; whether there is any.
    fn take_over(&self, kind: &str, object: &mut Value) -> bool {
        let seen = self.soak.books.last();
        let mut taken = TAKEN.lock().expect("no panic");
        let taken = taken.get_or_insert_default();
        let left = seen.things.iter().find(|thing| {
            let gone = !seen.objects.contains_key(&(kind.to_owned(), thing.owner.clone()));
            thing.kind == kind && kind != "ImageExport" && gone && !thing.failed && !taken.contains(&thing.id)
        });
        let Some(thing) = left else { return false };
        taken.insert(thing.id.clone());
        self.did("taken over");
        import(object, thing);
        true
    }

    async fn act(&mut self, kind: &str, name: &str) -> Result<(), String> {
        let world = &self.soak.world;
        let word = format!("w{}", self.random.random_range(0..1_000_000));
        match self.random.random_range(0..8) {
            // Refused where nothing may follow, or while a version is under way.
            0 | 1 if kind == "ImageComponent" && self.random.random_bool(0.5) => {
                let content = json!({ "spec": { "forProvider": { "content": format!("RUN echo {word}") } } });
                // What is taken over says nothing of its content here, and would differ for good if it did.
                let is_made =
                    world.get(kind, name).await.is_some_and(|object| object["spec"]["import"].is_null());
                if is_made && world.try_patch(kind, name, content).await.is_ok() {
                    self.did("asked for a new version");
                }
            }
            0 | 1 if kind == DISTRIBUTION && self.random.random_bool(0.7) => {
                self.did("put regions in and took regions out");
                let regions = json!({ "spec": { "regions": self.regions() } });
                let _ = world.try_patch(kind, name, regions).await;
            }
            0 | 1 => {
                self.did("changed");
                let _ = world.try_patch(kind, name, change(kind, &word)).await;
            }
            2 => {
                self.did("asked to look");
                self.request(kind, name, &word).await;
            }
            3 => {
                self.did("suspended, then resumed");
                self.suspend(kind, name, true).await;
                sleep(Duration::from_millis(self.random.random_range(0..4000))).await;
                self.suspend(kind, name, false).await;
            }
            4 | 5 if kind == DISTRIBUTION => {
                let copy = copy_in(name, REGIONS.choose(&mut self.random).expect("a region"));
                if self.random.random_bool(0.5) {
                    self.did("deleted a distribution's copy");
                    world.try_delete(COPY, &copy).await;
                } else {
                    self.did("changed a distribution's copy");
                    let _ = world.try_patch(COPY, &copy, change(COPY, &word)).await;
                }
            }
            4 => self.overwrite(kind, name).await?,
            5 => self.want_the_same(kind, name).await?,
            6 => {
                self.did("labelled");
                let _ =
                    world.try_patch(kind, name, json!({ "metadata": { "labels": { "by": word } } })).await;
            }
            _ => {
                self.suspend(kind, name, false).await;
                self.until_settled(kind, name).await?;
            }
        }
        Ok(())
    }

    async fn request(&self, kind: &str, name: &str, word: &str) {
        let annotations = json!({ "reconcile.cloudimages.dev/requested-at": word });
        let _ = self
            .soak
            .world
            .try_patch(kind, name, json!({ "metadata": { "annotations": annotations } }))
            .await;
    }

    async fn suspend(&self, kind: &str, name: &str, suspend: bool) {
        let _ = self.soak.world.try_patch(kind, name, json!({ "spec": { "suspend": suspend } })).await;
    }

    /// As `kubectl replace` with the manifest that was there at first: without finalizer and record. Nobody deletes it before
    /// they are back, since who takes off the finalizer lets go of the image.
    async fn overwrite(&self, kind: &str, name: &str) -> Result<(), String> {
        let bare = json!({ "metadata": { "finalizers": null, "annotations": null } });
        let known = self.soak.world.get(kind, name).await;
        if known.is_none_or(|object| object["status"]["imageId"].is_null()) {
            return Ok(());
        }
        self.did("overwritten");
        let _ = self.soak.world.try_patch(kind, name, bare).await;
        self.suspend(kind, name, false).await;
        let (kind, name) = (kind.to_owned(), name.to_owned());
        let what = format!("{kind} {name} is held again");
        let held = |object: &Value| {
            object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(FINALIZER)))
        };
        let held = self
            .soak
            .books
            .until(&what, STEP, |seen| seen.objects.get(&(kind.clone(), name.clone())).is_none_or(held));
        held.await.map(drop)
    }

    /// Another object wants to take over what this one has, and goes again; it must not take it along.
    async fn want_the_same(&mut self, kind: &str, name: &str) -> Result<(), String> {
        let Some(object) = self.soak.world.get(kind, name).await else { return Ok(()) };
        if !object["status"]["imageId"].is_string() {
            return Ok(());
        }
        self.did("wanted what another has");
        let rival = format!("soak-{}-{}", self.number, self.made);
        self.made += 1;
        let mut wanting = image_of(kind, &rival);
        wanting["spec"]["accountRef"] = json!({ "name": kind.to_lowercase() });
        // Where it was taken over itself, it was made for the same one.
        let made_for = match &object["spec"]["import"]["madeFor"] {
            Value::String(uid) => uid,
            _ => object["metadata"]["uid"].as_str().unwrap_or_default(),
        };
        import_by_id(&mut wanting, json!({ "id": object["status"]["imageId"], "madeFor": made_for }));
        self.create(kind, wanting).await;
        sleep(Duration::from_millis(self.random.random_range(0..3000))).await;
        self.remove(kind, &rival).await
    }

    /// Ready or, where the vendor failed, asked to try again.
    async fn until_settled(&mut self, kind: &str, name: &str) -> Result<(), String> {
        let what = format!("{kind} {name} settles");
        for attempt in 0..4 {
            let key = (kind.to_owned(), name.to_owned());
            let settled = self.soak.books.until(&what, STEP, |seen| {
                self.soak.is_over() || seen.objects.get(&key).is_none_or(is_settled)
            });
            let seen = settled.await.map_err(|vain| self.told(vain, kind, name))?;
            match seen.objects.get(&key) {
                Some(object) if condition(object, "Stalled")["status"] == "True" => {
                    self.did("asked to try again");
                    let word = format!("{attempt}-{}", self.random.random_range(0..1000));
                    self.request(kind, name, &word).await;
                }
                _ => break,
            }
        }
        Ok(())
    }

    async fn remove(&mut self, kind: &str, name: &str) -> Result<(), String> {
        self.did("deleted");
        self.soak.world.try_delete(kind, name).await;
        self.suspend(kind, name, false).await;
        let key = (kind.to_owned(), name.to_owned());
        let what = format!("{kind} {name} is gone");
        let gone = self.soak.books.until(&what, STEP, |seen| !seen.objects.contains_key(&key)).await;
        gone.map(drop).map_err(|vain| self.told(vain, kind, name))
    }

    fn told(&self, vain: String, kind: &str, name: &str) -> String {
        let seen = self.soak.books.last();
        let object = seen.objects.get(&(kind.to_owned(), name.to_owned()));
        format!("lost: {vain}: {}", object.unwrap_or(&Value::Null))
    }
}

fn import(object: &mut Value, thing: &Thing) {
    if let Some(region) = &thing.region {
        object["spec"]["forProvider"]["destinationRegionId"] = json!(region);
    }
    import_by_id(object, json!({ "id": thing.id, "madeFor": thing.made_for }));
}

fn import_by_id(object: &mut Value, import: Value) {
    for field in ["versionPolicy", "versionsToKeep"] {
        object["spec"].as_object_mut().expect("a spec").remove(field);
    }
    // Where it is, if that can be said.
    let place = object["spec"]["forProvider"]["destinationRegionId"].take();
    object["spec"]["forProvider"] =
        if place.is_null() { json!({}) } else { json!({ "destinationRegionId": place }) };
    object["spec"]["import"] = import;
    object["spec"]["deletionPolicy"] = json!("Delete");
}

/// What wants to take over something that has just been deleted waits for it to come.
pub fn is_settled(object: &Value) -> bool {
    is_ready(object)
        || condition(object, "Stalled")["status"] == "True"
        || condition(object, "Ready")["reason"] == "ImportNotFound"
}

/// Nothing goes wrong any more: all objects settle and are deleted, what was to stay is taken over and deleted, and then
/// there is nothing.
pub async fn end_everything(soak: &Soak) {
    if let Err(stuck) = end(soak).await {
        let seen = soak.books.last();
        let objects: Vec<_> = seen.objects.values().map(Value::to_string).collect();
        soak.books.violation(format!("{stuck}: {:?}; {}", seen.things, objects.join("\n")));
    }
}

async fn end(soak: &Soak) -> Result<(), String> {
    let resume = json!({ "spec": { "suspend": false } });
    let now = soak.books.until("the objects are read", STEP, |_| true).await?;
    for (kind, name) in now.objects.keys() {
        let _ = soak.world.try_patch(kind, name, resume.clone()).await;
    }
    soak.books.until("all objects settle", STEP, |seen| seen.objects.values().all(is_settled)).await?;
    let as_wanted = |seen: &super::books::Seen| astray(seen).is_empty();
    soak.books
        .until("all distributions are as they should be", STEP, as_wanted)
        .await
        .map_err(|vain| format!("{vain}: {:?}", astray(&soak.books.last())))?;
    delete_all(soak).await?;
    let now = soak.books.until("all that is left was told of", STEP, |seen| seen.untold.is_empty()).await?;
    let left = now.things.iter().filter(|thing| thing.kind != "ImageExport");
    for (number, thing) in left.enumerate() {
        let mut object = image_of(thing.kind, &format!("soak-99999-{number}"));
        object["spec"]["accountRef"] = json!({ "name": thing.kind.to_lowercase() });
        import(&mut object, thing);
        soak.books.did("acts of users", "taken over at the end");
        soak.world.create(object).await;
    }
    soak.books
        .until("what was left is taken over", STEP, |seen| seen.objects.values().all(is_settled))
        .await?;
    delete_all(soak).await?;
    let nothing = |seen: &super::books::Seen| seen.things.iter().all(|thing| thing.kind == "ImageExport");
    soak.books.until("nothing is left", STEP, nothing).await.map(drop)
}

async fn delete_all(soak: &Soak) -> Result<(), String> {
    for (kind, name) in soak.books.last().objects.keys() {
        soak.world.try_delete(kind, name).await;
    }
    soak.books.until("all objects are gone", STEP, |seen| seen.objects.is_empty()).await.map(drop)
}
