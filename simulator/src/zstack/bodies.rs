//! What the bodies of image calls say, read and typed before a call is accepted.

use serde_json::Value;

use super::images::{Image, invalid};
use super::{ApiError, stop};
use crate::wire::Refusal;

/// A part of a body; one of another type does not parse on the server.
struct Part<'a>(&'a Value);

impl<'a> Part<'a> {
    fn of(body: &'a Value, name: &str) -> Result<Self, Refusal> {
        body.get(name)
            .filter(|part| part.is_object())
            .map(Self)
            .ok_or_else(|| stop(400, &format!("the body doesn't contain action mapping to the URL: {name}")))
    }

    fn typed<T>(&self, name: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| {
                stop(400, &format!("failed to parse the request body: wrong type of the field {name}"))
            }),
        }
    }

    /// Every text of a message is trimmed.
    fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.typed(name, |value| value.as_str().map(str::trim))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.typed(name, Value::as_bool)
    }

    fn list(&self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        self.typed(name, texts)
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(Into::into)).collect()
}

/// What `params` of a creation or an update say, read before the call is accepted.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    description: Option<String>,
    guest_os_type: Option<String>,
    platform: Option<String>,
    architecture: Option<String>,
    media_type: Option<String>,
    format: Option<String>,
    system: Option<bool>,
    virtio: Option<bool>,
    pub(super) resource_uuid: Option<String>,
    pub(super) backup_storage_uuids: Option<Vec<String>>,
    pub(super) system_tags: Vec<String>,
    pub(super) user_tags: Vec<String>,
}

impl Wanted {
    pub(super) fn read(body: &Value, part: &str) -> Result<Self, Refusal> {
        let params = Part::of(body, part)?;
        let text = |name| Ok::<_, Refusal>(params.text(name)?.map(str::to_owned));
        Ok(Self {
            name: text("name")?,
            description: text("description")?,
            guest_os_type: text("guestOsType")?,
            platform: text("platform")?,
            architecture: text("architecture")?,
            media_type: text("mediaType")?,
            format: text("format")?,
            system: params.flag("system")?,
            virtio: params.flag("virtio")?,
            resource_uuid: text("resourceUuid")?,
            backup_storage_uuids: params.list("backupStorageUuids")?,
            system_tags: Part(body).list("systemTags")?.unwrap_or_default(),
            user_tags: Part(body).list("userTags")?.unwrap_or_default(),
        })
    }

    /// The limits of the API's parameters.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let long =
            |value: &Option<String>, most| value.as_ref().is_some_and(|text| text.chars().count() > most);
        if long(&self.name, 255) || self.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            return Err(invalid("field[name] must have 1 to 255 characters"));
        }
        if long(&self.description, 2048) {
            return Err(invalid("field[description] must have at most 2048 characters"));
        }
        for (name, value, values) in [
            (
                "platform",
                &self.platform,
                &["Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio"][..],
            ),
            ("architecture", &self.architecture, &["x86_64", "aarch64", "mips64el", "loongarch64"]),
        ] {
            if value.as_ref().is_some_and(|value| !values.contains(&value.as_str())) {
                return Err(invalid(format!("field[{name}] must be one of {values:?}")));
            }
        }
        Ok(())
    }

    pub(super) fn apply(self, image: &mut Image) {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(&mut image.name, self.name);
        set(&mut image.platform, self.platform);
        set(&mut image.architecture, self.architecture);
        set(&mut image.media_type, self.media_type);
        set(&mut image.format, self.format);
        set(&mut image.system, self.system);
        set(&mut image.virtio, self.virtio);
        image.description = self.description.or(image.description.take());
        image.guest_os_type = self.guest_os_type.or(image.guest_os_type.take());
    }
}

/// What `PUT /v1/images/{uuid}/actions` may ask for, read before the call is accepted.
pub(super) enum Action {
    Update(Box<Wanted>),
    Expunge,
    Recover,
    ChangeState { disable: bool },
}

impl Action {
    pub(super) fn read(body: &Value) -> Result<Self, Refusal> {
        let has = |name: &str| body.get(name).is_some();
        if has("updateImage") {
            Ok(Self::Update(Box::new(Wanted::read(body, "updateImage")?)))
        } else if has("expungeImage") {
            Ok(Self::Expunge)
        } else if has("recoverImage") {
            Ok(Self::Recover)
        } else if has("changeImageState") {
            let event = body.pointer("/changeImageState/stateEvent").and_then(Value::as_str);
            match event {
                Some("enable") => Ok(Self::ChangeState { disable: false }),
                Some("disable") => Ok(Self::ChangeState { disable: true }),
                _ => Err(stop(400, "the field stateEvent must be enable or disable")),
            }
        } else {
            Err(stop(400, "the body doesn't contain action mapping to the URL"))
        }
    }
}
