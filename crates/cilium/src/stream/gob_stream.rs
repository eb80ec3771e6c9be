//! Payloads as the socket of API 1.2 sends them: one gob stream.

use std::collections::HashMap;

use super::{Pending, StreamError};
use crate::{
    event::Event,
    gob::{Field, GobError, Reader, Types, Wire, next_message, types::each_field},
};

/// What a field that is left out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omitted {
    /// Zero.
    Zero,
    /// What it was before: Cilium's program reads each payload over the last one, and zeros are not sent.
    Last,
}

/// A field of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Data,
    Cpu,
    Lost,
    Type,
}

impl Role {
    fn of(field: &Field) -> Option<Self> {
        Some(match field.name.as_str() {
            "Data" => Self::Data,
            "CPU" => Self::Cpu,
            "Lost" => Self::Lost,
            "Type" => Self::Type,
            _ => return None,
        })
    }
}

/// A payload; its data lie in the message, or were there before.
#[derive(Debug, Clone, Copy, Default)]
struct Payload<'a> {
    data: Option<&'a [u8]>,
    cpu: Option<i64>,
    lost: Option<u64>,
    kind: Option<i64>,
}

/// The numbers of a payload, kept from one to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers {
    cpu: i64,
    lost: u64,
    payload_type: i64,
}

/// A stream of payloads.
#[derive(Debug, Clone)]
pub struct GobStream {
    types: Types,
    /// What the fields of a type are, each with its type.
    roles: HashMap<i64, Vec<(Option<Role>, i64)>>,
    pending: Pending,
    omitted: Omitted,
    last: Numbers,
    last_data: Vec<u8>,
}

impl GobStream {
    /// One of which nothing was read.
    #[must_use]
    pub fn new(omitted: Omitted) -> Self {
        Self {
            types: Types::default(),
            roles: HashMap::new(),
            pending: Pending::default(),
            omitted,
            last: Numbers::default(),
            last_data: Vec::new(),
        }
    }

    /// Appends bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.push(bytes);
    }

    /// The next event, if it is whole.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, StreamError> {
        let bytes = &self.pending.bytes;
        let message = next_message(bytes, &mut self.pending.position, &mut self.types);
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(error) => return Err(StreamError::Gob { position: self.pending.place(), error }),
        };
        let position = self.pending.before + message.start as u64;
        let failed = |error| StreamError::Gob { position, error };
        if !self.roles.contains_key(&message.type_id) {
            let fields = self.types.fields(message.type_id, "payload.Payload").map_err(failed)?;
            let roles = fields.iter().map(|field| (Role::of(field), field.type_id)).collect();
            self.roles.insert(message.type_id, roles);
        }
        let roles = self.roles.get(&message.type_id).map(Vec::as_slice).unwrap_or_default();
        let mut payload = Payload::default();
        read(&mut payload, &self.types, roles, message.body).map_err(failed)?;
        let numbers = match self.omitted {
            Omitted::Zero => Numbers::default(),
            Omitted::Last => self.last,
        };
        self.last = Numbers {
            cpu: payload.cpu.unwrap_or(numbers.cpu),
            lost: payload.lost.unwrap_or(numbers.lost),
            payload_type: payload.kind.unwrap_or(numbers.payload_type),
        };
        let data = match (self.omitted, payload.data) {
            (Omitted::Zero, data) => data.unwrap_or_default(),
            (Omitted::Last, Some(data)) => {
                self.last_data.clear();
                self.last_data.extend_from_slice(data);
                &self.last_data
            }
            (Omitted::Last, None) => &self.last_data,
        };
        let Numbers { cpu, lost, payload_type } = self.last;
        Ok(Some(Event { at: None, cpu, payload_type, lost, data }))
    }

    /// Fails if the stream ends in the middle of an event.
    pub fn finish(&self) -> Result<(), StreamError> {
        self.pending.finish()
    }
}

fn read<'a>(
    payload: &mut Payload<'a>,
    types: &Types,
    roles: &[(Option<Role>, i64)],
    mut body: Wire<'a>,
) -> Result<(), GobError> {
    let mut reader = Reader::new(types);
    each_field(&mut body, |number, body| {
        let &(role, type_id) = roles.get(number).ok_or(GobError::FieldOutOfBounds)?;
        let value = reader.read(type_id, body, 0)?;
        let wrong = GobError::WrongType;
        match role {
            Some(Role::Data) => payload.data = Some(value.bytes().ok_or(wrong)?),
            Some(Role::Cpu) => payload.cpu = Some(value.signed().ok_or(wrong)?),
            Some(Role::Lost) => payload.lost = Some(value.unsigned().ok_or(wrong)?),
            Some(Role::Type) => payload.kind = Some(value.signed().ok_or(wrong)?),
            None => {}
        }
        Ok(())
    })?;
    if body.is_empty() { Ok(()) } else { Err(GobError::ExtraData) }
}
