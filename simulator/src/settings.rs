//! What a user of the simulator may change while it runs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::{aliyun_ecs, batchcompute, volcengine, zstack};

/// All settings, with the values that they start with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// How long every answer takes, in milliseconds of real time. The vendor acts at once, its answer takes so long.
    pub latency_millis: u64,
    /// Ids that the vendors give follow from it.
    pub seed: u64,
    /// What the vendors do to the texts that they keep: names, descriptions, contents.
    pub texts: Texts,
    /// Who may call the vendors that use access keys.
    pub access_keys: Vec<AccessKey>,
    /// Volcengine: ACEP and ECS.
    pub volcengine: volcengine::Settings,
    /// Alibaba Cloud ECS.
    pub aliyun_ecs: aliyun_ecs::Settings,
    /// Alibaba Cloud BatchCompute.
    pub batchcompute: batchcompute::Settings,
    /// ZStack.
    pub zstack: zstack::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency_millis: 0,
            seed: 1,
            texts: Texts::default(),
            access_keys: vec![AccessKey::new("simulator", "simulator-secret")],
            volcengine: volcengine::Settings::default(),
            aliyun_ecs: aliyun_ecs::Settings::default(),
            batchcompute: batchcompute::Settings::default(),
            zstack: zstack::Settings::default(),
        }
    }
}

/// How texts come back. What vendors do is not documented; that ZStack trims is known, and it does so whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Texts {
    /// As they were sent.
    #[default]
    AsSent,
    /// Without white space around them.
    Trimmed,
    /// With line ends as CR LF.
    Crlf,
    /// With line ends as LF.
    Lf,
    /// With composed characters.
    Nfc,
    /// With characters taken apart, and a line end behind the text.
    NfdWithLineEnd,
}

impl Texts {
    /// A text as it comes back.
    pub fn of(self, text: &str) -> String {
        match self {
            Self::AsSent => text.to_owned(),
            Self::Trimmed => text.trim().to_owned(),
            Self::Crlf => text.replace("\r\n", "\n").replace('\n', "\r\n"),
            Self::Lf => text.replace("\r\n", "\n"),
            Self::Nfc => text.nfc().collect(),
            Self::NfdWithLineEnd => text.nfd().chain(['\n']).collect(),
        }
    }
}

/// An access key that the simulated vendors know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
    /// For temporary keys: the token that must come with every request.
    #[serde(default)]
    pub security_token: Option<String>,
    /// From when on the vendors take the token for expired.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whose key it is: things, tokens and quotas belong to accounts.
    #[serde(default = "AccessKey::default_account")]
    pub account: String,
}

impl AccessKey {
    /// A key without an end of the usual account.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            security_token: None,
            expires_at: None,
            account: Self::default_account(),
        }
    }

    fn default_account() -> String {
        "100000000000001".into()
    }
}

impl Settings {
    pub(crate) fn access_key(&self, id: &str) -> Option<&AccessKey> {
        self.access_keys.iter().find(|key| key.id == id)
    }
}
