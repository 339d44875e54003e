//! The two policies, as they were reviewed; and what rules and ranges make of them.

use k8s_openapi::api::networking::v1::NetworkPolicySpec;

use super::*;

fn options() -> Options<'static> {
    Options {
        nameservers: vec!["10.96.0.10".parse().unwrap()],
        public: vec![Family::V4],
        ..Options::default()
    }
}

fn egress(options: &Options<'_>) -> Vec<Value> {
    let isolation = Isolation::new(options).unwrap();
    let spec = isolation.control_plane(&Subject::sample(), "vcluster-system");
    spec["egress"].as_array().unwrap().clone()
}

/// Whether an address is in the block of a rule, and not excepted.
fn reaches(rules: &[Value], address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    let holds = |range: &Value| {
        let range: IpNet = range.as_str().unwrap().parse().unwrap();
        range.contains(&address)
    };
    rules
        .iter()
        .filter(|rule| rule["ports"] == json!([{ "protocol": "TCP" }]))
        .map(|rule| &rule["to"][0]["ipBlock"])
        .any(|block| {
            holds(&block["cidr"]) && !block["except"].as_array().unwrap().iter().any(holds)
        })
}

#[test]
fn the_policies_are_the_ones_that_were_reviewed() {
    let isolation = Isolation::new(&options()).unwrap();
    let specs = [
        isolation.control_plane(&Subject::sample(), "vcluster-system"),
        dns(&Subject::sample()),
    ];
    for spec in &specs {
        let typed: NetworkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
        let back = serde_json::to_value(typed).unwrap();
        assert_eq!(back, *spec, "every field is one that Kubernetes knows");
    }
    insta::assert_yaml_snapshot!(specs);
}

#[test]
fn public_addresses_are_reached_and_none_of_a_network_s_own() {
    let mut options = options();
    let closed = [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.254",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2001:0:a00:1::",
        "2002:a00:1::",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ];
    let public_v4 = [
        "1.1.1.1",
        "11.0.0.1",
        "100.63.255.255",
        "172.32.0.1",
        "192.0.1.1",
    ];
    let public_v6 = ["2606:4700::1111", "2a00:1450::1"];
    for (families, v4, v6) in [
        (vec![Family::V4], true, false),
        (vec![Family::V4, Family::V6], true, true),
        (vec![Family::V6], false, true),
        (vec![], false, false),
    ] {
        options.public = families;
        let rules = egress(&options);
        for address in closed {
            assert!(!reaches(&rules, address), "{address}");
        }
        for (addresses, open) in [(&public_v4[..], v4), (&public_v6[..], v6)] {
            for address in addresses {
                assert_eq!(reaches(&rules, address), open, "{address}");
            }
        }
    }
}

#[test]
fn a_denied_range_is_not_reached_and_stands_there_only_where_the_api_server_takes_it() {
    let range = |text: &str| -> IpNet { text.parse().unwrap() };
    let options = Options {
        public: vec![Family::V4, Family::V6],
        denied: [
            "11.1.2.3/16",
            "10.244.0.0/16",
            "fd44::/48",
            "2a00:1450::/32",
        ]
        .map(range)
        .into(),
        ..options()
    };
    let rules = egress(&options);
    for (address, open) in [
        ("11.1.255.1", false),
        ("11.2.0.1", true),
        ("2a00:1450::7", false),
        ("2a00:1451::7", true),
    ] {
        assert_eq!(reaches(&rules, address), open, "{address}");
    }
    let text = Value::from(rules).to_string();
    assert!(
        text.contains("11.1.0.0/16") && !text.contains("10.244"),
        "{text}"
    );
    assert!(!text.contains("fd44"), "{text}");
    let all = Options {
        denied: vec![range("0.0.0.0/0")],
        ..options
    };
    let rules = egress(&all);
    assert!(!reaches(&rules, "1.1.1.1") && reaches(&rules, "2606:4700::1111"));
}

#[test]
fn rules_of_the_administrator_stand_beside_the_others_and_those_for_dns_in_their_place() {
    let own = r#"[{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}]"#;
    let more = Options {
        further: own,
        ..options()
    };
    let (plain, with) = (egress(&options()), egress(&more));
    assert_eq!(with[..plain.len()], plain);
    let filled = json!([{ "port": 443, "protocol": "TCP" }]);
    assert_eq!(with.last().unwrap()["ports"], filled);
    let dns = Options {
        host_dns: own,
        ..options()
    };
    let instead = egress(&dns);
    assert_eq!(instead.len(), plain.len());
    assert!(!Value::from(instead).to_string().contains("kube-system"));
}

#[test]
fn what_is_no_list_of_rules_is_refused() {
    for (text, word) in [
        ("{", "list"),
        ("{}", "list"),
        (r#"[{"to": [{"ipblock": {}}]}]"#, "ipblock"),
        (r#"[{"from": []}]"#, "from"),
        (r#"[{"to": [{"ipBlock": {"cidr": 7}}]}]"#, "list"),
        ("[{}]", "everybody"),
        (r#"[{"to": []}]"#, "everybody"),
        (r#"[{"ports": [{"port": 443}]}]"#, "everybody"),
    ] {
        let refused = Isolation::new(&Options {
            further: text,
            ..options()
        });
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(word), "{text}: {said}");
    }
}

#[test]
fn nameservers_are_those_of_other_machines() {
    let text = "search svc.cluster.local\nnameserver 10.96.0.10\n nameserver  fd96::a \n\
                nameserver 127.0.0.53\n# nameserver 1.1.1.1\nnameserver x\noptions ndots:5\n";
    let found: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.96.0.10", "fd96::a"]);
    assert_eq!(nameservers(""), Vec::<IpAddr>::new());
}
