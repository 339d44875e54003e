//! What an expression costs: told before it is evaluated, from its own shape and the size of what it is given.
//!
//! Each part of an expression handles values no larger than what it is given, times the additions that can have joined
//! them. The product bounds time and memory, though it mostly tells far too much.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue};
use serde_json::Value;

use super::Error;

/// What a value costs beside its text: memory of its own.
const EACH: u64 = 64;
/// What a pattern costs, which is compiled at each evaluation.
const PATTERN: u64 = 64 << 10;
/// Bytes of a compiled pattern at most.
const PATTERN_SIZE: usize = 32 << 10;
/// Characters of a text that cost as much as a part of the expression.
const LETTERS: u64 = 8;
/// Functions whose second text must be known beforehand: from the object it could cost the square of its size.
const KNOWN: [&str; 3] = ["indexOf", "lastIndexOf", "matches"];

/// The cost of an expression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost {
    parts: u64,
    additions: u64,
    patterns: u64,
}

impl Cost {
    /// That of an expression.
    ///
    /// # Errors
    /// It has a loop, or a function with a text that is not known.
    pub(super) fn of(expression: &IdedExpr) -> Result<Self, Error> {
        let mut cost = Self::default();
        cost.add(expression)?;
        Ok(cost)
    }

    /// What one evaluation costs with values of that size.
    pub(super) const fn with(self, size: u64) -> u64 {
        self.parts
            .saturating_mul(self.additions.saturating_add(1))
            .saturating_mul(size)
            .saturating_add(self.patterns.saturating_mul(PATTERN))
    }

    fn add(&mut self, expression: &IdedExpr) -> Result<(), Error> {
        self.parts += 1;
        match &expression.expr {
            Expr::Comprehension(_) => Err(Error::Loop),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|one| self.add(one)),
            Expr::Map(map) => self.entries(&map.entries),
            Expr::Struct(made) => self.entries(&made.entries),
            Expr::Select(select) => self.add(&select.operand),
            Expr::Literal(LiteralValue::String(text)) => {
                self.parts += text.inner().len() as u64 / LETTERS;
                Ok(())
            }
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), Error> {
        if call.func_name == "_+_" {
            self.additions += 1;
        }
        if KNOWN.contains(&call.func_name.as_str()) {
            let text = if call.target.is_some() {
                call.args.first()
            } else {
                call.args.get(1)
            };
            let Some(Expr::Literal(LiteralValue::String(text))) = text.map(|text| &text.expr)
            else {
                return Err(Error::Unknowable(call.func_name.clone()));
            };
            if call.func_name == "matches" {
                self.patterns += 1;
                check_pattern(text.inner())?;
            }
        }
        let target = call.target.iter().map(AsRef::as_ref);
        target.chain(&call.args).try_for_each(|one| self.add(one))
    }

    fn entries(&mut self, entries: &[IdedEntryExpr]) -> Result<(), Error> {
        entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::StructField(field) => self.add(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.add(&entry.key)?;
                self.add(&entry.value)
            }
        })
    }
}

fn check_pattern(pattern: &str) -> Result<(), Error> {
    let built = regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN_SIZE)
        .build();
    built
        .map(drop)
        .map_err(|_unfit| Error::Pattern(pattern.to_owned()))
}

/// Size of a value, about as it is in memory.
pub(super) fn size(value: &Value) -> u64 {
    EACH + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| key.len() as u64 + size(value))
            .sum(),
    }
}
