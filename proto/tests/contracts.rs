//! Rules that the contracts keep, and what they were: a change that would break a client shows in
//! the snapshot.

use std::{collections::BTreeSet, fmt::Write as _, iter};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MessageOptions, MethodDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(vcluster_proto::FILE_DESCRIPTOR_SET).expect("it is one");
    let ours = |file: &FileDescriptorProto| file.package().starts_with("vcluster.");
    let files: Vec<_> = set.file.into_iter().filter(ours).collect();
    assert_eq!(files.len(), 3);
    files
}

fn methods(file: &FileDescriptorProto) -> impl Iterator<Item = &MethodDescriptorProto> {
    file.service.iter().flat_map(|service| &service.method)
}

/// Messages that a person wrote; those of `map` fields are the compiler's.
fn messages(file: &FileDescriptorProto) -> impl Iterator<Item = &DescriptorProto> {
    for message in &file.message_type {
        let nested = message.nested_type.iter();
        let written = nested.filter(|n| !n.options.as_ref().is_some_and(MessageOptions::map_entry));
        assert_eq!(
            written.count(),
            0,
            "{}: messages are not nested",
            message.name()
        );
    }
    file.message_type.iter()
}

#[test]
fn every_rpc_has_its_own_request_and_response() {
    let mut seen = BTreeSet::new();
    for file in files() {
        for method in methods(&file) {
            for (half, type_) in [
                ("Request", method.input_type()),
                ("Response", method.output_type()),
            ] {
                let expected = format!(".{}.{}{half}", file.package(), method.name());
                assert_eq!(type_, expected);
                assert!(seen.insert(expected), "{type_} is used twice");
            }
        }
    }
}

#[test]
fn enums_begin_with_unspecified_and_carry_their_name() {
    for file in files() {
        for enumeration in &file.enum_type {
            let prefix = screaming(enumeration.name());
            let first = enumeration.value.first().expect("an enum has values");
            assert_eq!(first.name(), format!("{prefix}_UNSPECIFIED"));
            assert_eq!(first.number(), 0);
            for value in &enumeration.value {
                assert!(
                    value.name().starts_with(&format!("{prefix}_")),
                    "{}",
                    value.name()
                );
            }
        }
    }
}

/// `EventType` is `EVENT_TYPE`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

#[test]
fn everything_is_documented() {
    for file in files() {
        let source = file
            .source_code_info
            .as_ref()
            .expect("the compiler keeps comments");
        let documented: BTreeSet<&[i32]> = source
            .location
            .iter()
            .filter(|location| location.leading_comments().trim().len() > 2)
            .map(|location| location.path.as_slice())
            .collect();
        for (path, name) in elements(&file) {
            assert!(
                documented.contains(path.as_slice()),
                "{name} has no comment"
            );
        }
    }
}

/// Path (the field numbers of descriptor.proto) and name of everything that can bear a comment.
fn elements(file: &FileDescriptorProto) -> Vec<(Vec<i32>, String)> {
    let mut found = Vec::new();
    let index = |i: usize| i32::try_from(i).expect("a file is small");
    for (i, message) in file.message_type.iter().enumerate() {
        found.push((vec![4, index(i)], message.name().to_owned()));
        for (j, field) in message.field.iter().enumerate() {
            found.push((
                vec![4, index(i), 2, index(j)],
                format!("{}.{}", message.name(), field.name()),
            ));
        }
    }
    for (i, enumeration) in file.enum_type.iter().enumerate() {
        found.push((vec![5, index(i)], enumeration.name().to_owned()));
        for (j, value) in enumeration.value.iter().enumerate() {
            found.push((vec![5, index(i), 2, index(j)], value.name().to_owned()));
        }
    }
    for (i, service) in file.service.iter().enumerate() {
        found.push((vec![6, index(i)], service.name().to_owned()));
        for (j, method) in service.method.iter().enumerate() {
            found.push((vec![6, index(i), 2, index(j)], method.name().to_owned()));
        }
    }
    found
}

/// A changed or vanished line breaks clients that exist; a new line does not.
#[test]
fn the_contracts_are_the_ones_that_were_released() {
    let mut text = String::new();
    for file in files() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", file.package());
        for service in &file.service {
            for method in &service.method {
                let stream = if method.server_streaming() {
                    " (stream)"
                } else {
                    ""
                };
                let _ = writeln!(text, "  {}/{}{stream}", service.name(), method.name());
            }
        }
        for message in messages(&file) {
            // The nested ones are the entries of maps.
            for message in iter::once(message).chain(&message.nested_type) {
                for field in &message.field {
                    let _ = writeln!(text, "  {}.{}", message.name(), described(message, field));
                }
            }
        }
        for enumeration in &file.enum_type {
            for value in &enumeration.value {
                let _ = writeln!(
                    text,
                    "  {}",
                    numbered(enumeration, value.name(), value.number())
                );
            }
        }
    }
    insta::assert_snapshot!(text);
}

fn described(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let type_ = field.r#type();
    let type_ = if matches!(type_, Type::Message | Type::Enum) {
        field.type_name().trim_start_matches('.').to_owned()
    } else {
        type_
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase()
    };
    let repeated = if field.label() == Label::Repeated {
        "repeated "
    } else {
        ""
    };
    let choice = field
        .oneof_index
        .and_then(|i| message.oneof_decl.get(usize::try_from(i).ok()?));
    let choice = choice
        .map(|oneof| format!(" (oneof {})", oneof.name()))
        .unwrap_or_default();
    format!(
        "{} = {}: {repeated}{type_}{choice}",
        field.name(),
        field.number()
    )
}

fn numbered(enumeration: &EnumDescriptorProto, name: &str, number: i32) -> String {
    format!("{}.{name} = {number}", enumeration.name())
}
