//! The hot tables' descriptors: asked for on a connection of its own, mapped, checked.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use thermae_formats::wire::{
    ErrorReply, Frame, HELLO_MAX_FRAME_BYTES, HelloReply, HelloRequest, Kind, MapReply, MapRequest,
    VERSION_MAX, VERSION_MIN, split_frame,
};
use thermae_hot::{Expect, HotReader};

use crate::client::Client;
use crate::error::Error;
use crate::socket::Socket;

/// Most descriptors that one message carries (the kernel's SCM_MAX_FD).
const DESCRIPTORS_MAX: usize = 253;
const MAX_MAPPED_BYTES: u32 = 64 << 10;

/// The hot tables of one opening of the store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Maps {
    pub readers: Vec<HotReader>,
    pub partition_map: Vec<u16>,
    pub partitions: u16,
    pub hash_seed: u64,
    pub epoch: u64,
}

impl Maps {
    pub fn open(client: &Client, project: &str) -> Result<Self, Error> {
        let config = client.config();
        let deadline = Instant::now() + config.connect_timeout;
        let socket = Socket::connect(client.address(), config.connect_timeout)?;
        let mut request = Vec::new();
        HelloRequest {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            max_frame_bytes: MAX_MAPPED_BYTES,
            credentials: &config.credentials,
            client_name: &config.client_name,
        }
        .encode(&mut request, 1)?;
        let mut talk = Talk { socket, deadline, received: Vec::new(), descriptors: Vec::new() };
        let hello = talk.ask(&request)?;
        let hello = whole(&hello)?;
        let hello = HelloReply::decode(&hello)?;
        request.clear();
        MapRequest { project }.encode(&mut request, 2, HELLO_MAX_FRAME_BYTES)?;
        let reply = talk.ask(&request)?;
        let reply = MapReply::decode(&whole(&reply)?)?;
        if talk.descriptors.len() != reply.shards.len() {
            let (came, due) = (talk.descriptors.len(), reply.shards.len());
            return Err(Error::Mapped(format!("{came} descriptors came for {due} shards")));
        }
        let store_id = Some(u128::from_le_bytes(hello.store_id));
        let mut readers = Vec::with_capacity(reply.shards.len());
        for (shard, descriptor) in reply.shards.iter().zip(talk.descriptors) {
            let expect = Expect {
                store_id,
                epoch: Some(reply.epoch),
                shard: Some(u32::from(shard.shard)),
                ..Expect::default()
            };
            let reader = HotReader::from_descriptor(descriptor, &expect);
            readers.push(reader.map_err(|error| Error::Mapped(error.to_string()))?);
        }
        Ok(Self {
            readers,
            partitions: hello.partitions,
            hash_seed: hello.hash_seed,
            epoch: reply.epoch,
            partition_map: reply.partition_map,
        })
    }
}

/// A refusal as an error; a frame otherwise.
fn whole(bytes: &[u8]) -> Result<Frame<'_>, Error> {
    let frame = Frame::check(bytes, MAX_MAPPED_BYTES)?;
    if frame.kind_code == Kind::Error as u8 {
        return Err(Error::from_reply(&ErrorReply::decode(&frame)?));
    }
    Ok(frame)
}

/// One question after the other, with descriptors in the answers.
struct Talk {
    socket: Socket,
    deadline: Instant,
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Talk {
    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Error> {
        let lost = |_| Error::Disconnected;
        self.socket.send_all(request, self.deadline, || Ok(())).map_err(lost)?;
        loop {
            let split = split_frame(&self.received, MAX_MAPPED_BYTES)?;
            if let Some((frame, _)) = split {
                let len = frame.bytes.len();
                return Ok(self.received.drain(..len).collect());
            }
            if Instant::now() >= self.deadline {
                return Err(Error::TimedOut);
            }
            self.receive()?;
        }
    }

    fn receive(&mut self) -> Result<(), Error> {
        let mut some = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut some)];
        let received = recvmsg(&self.socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        match received {
            Ok(message) if message.bytes == 0 => Err(Error::Disconnected),
            Ok(message) => {
                self.received.extend_from_slice(some.get(..message.bytes).unwrap_or_default());
                Ok(())
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(_) => Err(Error::Disconnected),
        }
    }
}
