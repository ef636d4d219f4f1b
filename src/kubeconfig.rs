//! The kubeconfig, read as kubectl does it. kube could read it too, but then the parser of YAML would be in the program once more,
//! for these types alone; here it gives plain values, as for manifests, which become those types afterwards.

use kube::config::{Kubeconfig, KubeconfigError};
use serde::{Deserialize, de::Error};
use serde_json::Value;
use std::{
    env, fs, io,
    path::{MAIN_SEPARATOR, Path},
};

/// That of `$KUBECONFIG`, which may name several files, or `~/.kube/config`.
pub fn read() -> Result<Kubeconfig, KubeconfigError> {
    let named = env::var_os("KUBECONFIG").unwrap_or_default();
    let mut files: Vec<_> = env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if files.is_empty() {
        files.push(env::home_dir().ok_or(KubeconfigError::FindPath)?.join(".kube").join("config"));
    }
    files.iter().try_fold(Kubeconfig::default(), |merged, path| merged.merge(read_from(path)?))
}

/// That of a file. What it names by a relative path is beside it.
pub fn read_from(path: &Path) -> Result<Kubeconfig, KubeconfigError> {
    let text = fs::read(path).and_then(|bytes| text(&bytes));
    let text = text.map_err(|error| KubeconfigError::ReadConfig(error, path.into()))?;
    let mut kubeconfig = parse(&text)?;
    let absolute = |file: &mut Option<String>| {
        if let (Some(folder), Some(relative)) =
            (path.parent(), file.as_ref().filter(|file| Path::new(file).is_relative()))
            && let Some(absolute) = folder.join(relative).to_str()
        {
            *file = Some(absolute.to_owned());
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        absolute(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        for file in [&mut user.client_certificate, &mut user.client_key, &mut user.token_file] {
            absolute(file);
        }
        // A bare name is looked for on the PATH.
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(|command| command.contains(MAIN_SEPARATOR))
        {
            absolute(&mut exec.command);
        }
    }
    Ok(kubeconfig)
}

/// That of a text: of several documents, what the first one says counts.
pub(crate) fn parse(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    let wrong = |error| KubeconfigError::Parse(Box::new(error));
    // In the words of kubectl's YAML, `y` and `no` are a truth where one is meant, and a name where not.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(wrong)?;
    documents.into_iter().try_fold(Kubeconfig::default(), |merged, mut document| {
        let meant = as_meant("it", &mut document).map_err(serde_saphyr::Error::custom);
        let next =
            meant.and_then(|()| Kubeconfig::deserialize(document).map_err(serde_saphyr::Error::custom));
        merged.merge(next.map_err(wrong)?)
    })
}

/// Texts that look like something else need no quotes in a kubeconfig; whatever is no text is known by its name. Of a number with a
/// fraction, or with zeros before it, nobody knows any more how it was written: that is an error, which does not repeat it, since it
/// may be a password.
fn as_meant(name: &str, value: &mut Value) -> Result<(), String> {
    const TRUTHS: &[&str] =
        &["insecure-skip-tls-verify", "disable-compression", "provideClusterInfo", "colors"];
    match value {
        Value::Number(number) if number.is_f64() => {
            return Err(format!("{name} looks like a number; put it in quotes"));
        }
        Value::Number(number) => *value = number.to_string().into(),
        Value::Bool(truth) if !TRUTHS.contains(&name) => *value = truth.to_string().into(),
        Value::String(text) if TRUTHS.contains(&name) => match &*text.to_lowercase() {
            "y" | "yes" | "on" => *value = true.into(),
            "n" | "no" | "off" => *value = false.into(),
            _ => {}
        },
        Value::Array(values) => values.iter_mut().try_for_each(|value| as_meant(name, value))?,
        Value::Object(fields) => {
            // What is in extensions is others'.
            let mut known = fields.iter_mut().filter(|(name, _)| *name != "extension");
            known.try_for_each(|(name, value)| as_meant(name, value))?;
        }
        _ => {}
    }
    Ok(())
}

/// Editors of some systems write two bytes for each letter, and say so in the first two.
fn text(bytes: &[u8]) -> io::Result<String> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is neither UTF-8 nor UTF-16");
    let wide = |make: fn([u8; 2]) -> u16| {
        let letters: Vec<_> = bytes[2..].chunks_exact(2).map(|pair| make([pair[0], pair[1]])).collect();
        String::from_utf16(&letters).map_err(|_| invalid())
    };
    match bytes {
        [0xFF, 0xFE, ..] => wide(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => wide(u16::from_be_bytes),
        bytes => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            String::from_utf8(bytes.to_vec()).map_err(|_| invalid())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::config::KubeConfigOptions;

    /// A folder with these files.
    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    const WHOLE: &str = "
kind: Config
apiVersion: v1
current-context: 1
preferences: {colors: yes}
contexts:
- name: 1
  context: {cluster: y, user: 7, namespace: 42, extensions: [{name: a, extension: {number: 1, truth: true}}]}
clusters:
- name: y
  cluster: {server: 'https://a', certificate-authority: ca.crt, insecure-skip-tls-verify: no}
users:
- name: 7
  user:
    password: -17
    token: 12345
    client-certificate: /there/a.crt
    client-key: a.key
    exec: {command: ./login, args: [1, true, null-ish], env: [{name: A, value: on}], provideClusterInfo: true}
";

    #[test]
    fn what_is_read_is_what_kube_reads() {
        let folder = folder(&[
            ("whole", WHOLE.as_bytes()),
            ("several", b"current-context: a\n---\ncurrent-context: b\nclusters: [{name: c}]\n"),
            ("nothing", b""),
            ("marked", b"\xEF\xBB\xBFcurrent-context: a"),
            ("little", b"\xFF\xFEk\0i\0n\0d\0:\0 \0K\0"),
            ("big", b"\xFE\xFF\0k\0i\0n\0d\0:\0 \0K"),
        ]);
        for file in ["whole", "several", "nothing", "marked", "little", "big"] {
            let path = folder.path().join(file);
            let [ours, theirs] = [read_from(&path).unwrap(), Kubeconfig::read_from(&path).unwrap()];
            assert_eq!(
                serde_json::to_value(&ours).unwrap(),
                serde_json::to_value(&theirs).unwrap(),
                "{file}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = folder(&[
            ("broken", b"clusters: ["),
            ("odd", b"clusters: [{name: a, cluster: {insecure-skip-tls-verify: maybe}}]"),
            ("number", b"users: [{name: a, user: {password: 0123}}]"),
            ("binary", b"\x80\x80"),
        ]);
        for (file, why) in [
            ("broken", "failed to parse kubeconfig YAML: "),
            ("odd", "invalid type: string \"maybe\", expected a boolean"),
            ("number", "password looks like a number; put it in quotes"),
            ("binary", "it is neither UTF-8 nor UTF-16"),
            ("missing", "No such file"),
        ] {
            let error = read_from(&folder.path().join(file)).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("123"), "{file}: {error}");
        }
    }

    #[tokio::test]
    async fn a_whole_one_can_be_used() {
        let folder = folder(&[("whole", WHOLE.as_bytes()), ("ca.crt", b"")]);
        let mut kubeconfig = read_from(&folder.path().join("whole")).unwrap();
        kubeconfig.clusters[0].cluster.as_mut().unwrap().certificate_authority = None;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        assert_eq!(config.unwrap().default_namespace, "42");
    }
}
