//! From the kubelet API's query parameters to those of the host's pod subresources. No I/O.
//!
//! Values pass as they came, still encoded. Parameters of a newer Kubernetes pass too, but for those that say
//! which container, and how the host's kubelet is verified: those are not the caller's to say.

use super::Verb;

/// Parameters that never pass.
const OURS: [&str; 2] = ["container", "insecureSkipTLSVerifyBackend"];

/// Query of `pods/log`. The old `tail` is what the kubelet understands by it: `tailLines`, unless it is `all`.
pub(super) fn logs(query: &str, container: &str) -> String {
    let tail = pairs(query)
        .find(|(key, _)| *key == "tail")
        .map(|(_, value)| value);
    let mut out = vec![format!("container={container}")];
    for (key, value) in pairs(query) {
        let replaced = tail.is_some() && key == "tailLines";
        if key != "tail" && !replaced && !OURS.contains(&key) {
            out.push(format!("{key}={value}"));
        }
    }
    if let Some(lines) = tail.filter(|tail| *tail != "all") {
        out.push(format!("tailLines={lines}"));
    }
    out.join("&")
}

/// Query of `pods/exec`, `pods/attach` and `pods/portforward`.
pub(super) fn stream(verb: Verb, query: &str, container: Option<&str>) -> String {
    let mut out: Vec<String> = container
        .map(|name| format!("container={name}"))
        .into_iter()
        .collect();
    if verb != Verb::PortForward {
        // All four are said: the API has defaults that the kubelet has not.
        for (theirs, ours) in [
            ("stdin", "input"),
            ("stdout", "output"),
            ("stderr", "error"),
            ("tty", "tty"),
        ] {
            let on = pairs(query).any(|(key, value)| key == ours && value == "1");
            out.push(format!("{theirs}={on}"));
        }
    }
    for (key, value) in pairs(query) {
        match (verb, key) {
            (Verb::Exec, "command") => out.push(format!("command={value}")),
            (Verb::PortForward, "port") => {
                // One parameter with a list, or several: encoded commas count, too.
                let ports = value.replace("%2C", ",").replace("%2c", ",");
                out.extend(ports.split(',').map(|port| format!("ports={port}")));
            }
            (Verb::Logs | Verb::Exec | Verb::Attach | Verb::PortForward, _) => {}
        }
    }
    out.join("&")
}

/// The parameters. A key that is written in another way than in letters is none of Kubernetes', or hides one.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| key.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_logs_passes_but_for_those_that_are_not_the_caller_s() {
        for (query, expected) in [
            ("", "container=main"),
            (
                "follow=true&tailLines=3&sinceTime=2026-01-01T00%3A00%3A00Z&timestamps=true",
                "container=main&follow=true&tailLines=3&sinceTime=2026-01-01T00%3A00%3A00Z&timestamps=true",
            ),
            (
                "previous=true&limitBytes=10&sinceSeconds=5&stream=Stdout&tomorrow=1",
                "container=main&previous=true&limitBytes=10&sinceSeconds=5&stream=Stdout&tomorrow=1",
            ),
            (
                "container=injected&insecureSkipTLSVerifyBackend=true&follow",
                "container=main&follow=",
            ),
            (
                "%69nsecureSkipTLSVerifyBackend=true&contai%6Eer=x&insecureSkipTLSVerifyBackend%00=1&previous=1",
                "container=main&previous=1",
            ),
            ("tail=5&tailLines=9", "container=main&tailLines=5"),
            ("tail=all&tailLines=9", "container=main"),
        ] {
            assert_eq!(logs(query, "main"), expected, "{query}");
        }
    }

    #[test]
    fn streams_are_named_as_the_api_names_them() {
        for (verb, query, expected) in [
            (
                Verb::Exec,
                "command=sh&command=-c&command=echo+%24HOME&input=1&output=1&error=1",
                "container=main&stdin=true&stdout=true&stderr=true&tty=false&command=sh&command=-c&command=echo+%24HOME",
            ),
            (
                Verb::Exec,
                "output=1&tty=1&command=sh&container=injected&stdin=true",
                "container=main&stdin=false&stdout=true&stderr=false&tty=true&command=sh",
            ),
            (
                Verb::Attach,
                "input=1&output=true&command=sh",
                "container=main&stdin=true&stdout=false&stderr=false&tty=false",
            ),
        ] {
            assert_eq!(stream(verb, query, Some("main")), expected, "{query}");
        }
    }

    #[test]
    fn ports_are_named_one_by_one() {
        assert_eq!(stream(Verb::PortForward, "", None), "");
        assert_eq!(
            stream(Verb::PortForward, "port=80%2C81&port=82", None),
            "ports=80&ports=81&ports=82"
        );
    }
}
