use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

#[test]
fn only_hosts_of_the_internet_are_public() {
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.7",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!is_public(ip(text)), "{text}");
    }
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        assert!(is_public(ip(text)), "{text}");
    }
}

#[test]
fn a_configuration_names_networks_and_addresses() {
    let networks = Networks::read([
        "10.1.0.0/16",
        " 192.168.0.7",
        "::ffff:172.16.0.0/108",
        "fd00::/8",
    ]);
    let networks = networks.expect("networks");
    for (text, expected) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("10.2.0.0", false),
        ("192.168.0.7", true),
        ("192.168.0.8", false),
        ("172.31.0.1", true),
        ("fd12::1", true),
        ("fe80::1", false),
    ] {
        assert_eq!(networks.include(ip(text)), expected, "{text}");
    }
    for text in ["", "localhost", "10.0.0.0/33", "10.0.0"] {
        assert!(Networks::read([text]).is_err(), "{text}");
    }
}

#[test]
fn a_reach_is_told_of_addresses_and_of_names_that_stand_for_one() {
    let internet = Reach::InternetAnd(Networks::default());
    let relay = Networks::read(["127.0.0.1", "10.1.0.0/16"]).expect("networks");
    let relay = Reach::InternetAnd(relay);
    for (host, by_internet, by_relay) in [
        ("127.0.0.1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("[::ffff:7f00:1]", false, true),
        ("::1", false, false),
        ("10.1.2.3", false, true),
        ("::ffff:10.2.0.1", false, false),
        ("169.254.169.254", false, false),
        ("localhost", false, true),
        ("LocalHost.", false, true),
        ("mail.localhost", false, true),
        ("8.8.8.8", true, true),
        ("::ffff:8.8.8.8", true, true),
        ("smtp.example.com", true, true),
        // Only a look-up tells that these lead to this machine.
        ("2130706433", true, true),
        ("notlocalhost", true, true),
    ] {
        assert!(Reach::Anywhere.may_allow(host), "{host}");
        assert_eq!(internet.may_allow(host), by_internet, "{host}");
        assert_eq!(relay.may_allow(host), by_relay, "{host}");
    }
}

proptest! {
    #[test]
    fn how_an_address_is_written_makes_no_difference(bits in any::<u32>()) {
        let four = Ipv4Addr::from_bits(bits);
        let public = is_public(four.into());
        prop_assert_eq!(is_public(four.to_ipv6_mapped().into()), public);
        let standard = four.is_private() || four.is_loopback() || four.is_link_local()
            || four.is_multicast() || four.is_unspecified() || four.is_documentation();
        prop_assert!(!(standard && public), "{four}");
    }

    #[test]
    fn no_local_address_of_ipv6_is_public(bits in any::<u128>()) {
        let six = Ipv6Addr::from_bits(bits);
        let local = six.is_loopback() || six.is_multicast() || six.is_unicast_link_local()
            || six.is_unique_local() || six.is_unspecified();
        prop_assert!(!(local && is_public(six.into())), "{six}");
    }
}
