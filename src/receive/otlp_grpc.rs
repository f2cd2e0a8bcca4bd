//! OpenTelemetry's logs over gRPC: `LogsService/Export`.
//!
//! ```text
//! HTTP/2 ─▶ who asks ─▶ frames, counted as bytes in flight ─▶ message (bytes, inflated) ─▶ Door ─▶ ExportLogsServiceResponse
//! ```
//!
//! Messages are handed on as bytes: the decoder reads them in place. The mapping is that of `/otlp/v1/logs`.
//! Errors, as clients of OpenTelemetry expect them: `UNAVAILABLE` with a `RetryInfo` for what may work later, else a
//! status that is not tried again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http;
use bytes::{Buf, BufMut, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};

use crate::receive::decode::{PushError, PushKind, decode_record};
use crate::receive::door::Door;
use crate::receive::in_flight::Held;
use crate::types::ids::TenantId;

/// The one method.
const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Says who asks, by the headers of a call and what its connection left with it, or why not.
pub type Identify = Arc<dyn Fn(http::HeaderMap, http::Extensions) -> BoxFuture<TenantId, PushError> + Send + Sync>;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct LogsService {
    door: Door,
    identify: Identify,
}

impl std::fmt::Debug for LogsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogsService").field("door", &self.door).finish_non_exhaustive()
    }
}

impl LogsService {
    pub fn new(door: Door, identify: Identify) -> Self {
        LogsService { door, identify }
    }
}

impl NamedService for LogsService {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}

impl<B> Service<http::Request<B>> for LogsService
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl LogsService {
    async fn answer<B>(self, request: http::Request<B>) -> http::Response<tonic::body::Body>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        if request.uri().path() != EXPORT {
            return Status::unimplemented("only LogsService/Export is served here").into_http();
        }
        let identified = (self.identify)(request.headers().clone(), request.extensions().clone()).await;
        let entered = identified.and_then(|tenant| Ok((self.door.in_flight.enter(&tenant, 0)?, tenant)));
        let (held, tenant) = match entered {
            Ok(entered) => entered,
            Err(error) => return status_of(&error).into_http(),
        };
        let held = Arc::new(Mutex::new(Some(held)));
        let request = request.map(|inner| Counted { inner, held: held.clone(), bytes: 0 });
        let mut gzip = EnabledCompressionEncodings::default();
        gzip.enable(CompressionEncoding::Gzip);
        let bytes_max = self.door.body_limits.inflated_bytes_max;
        Grpc::new(BytesCodec)
            .apply_compression_config(gzip, EnabledCompressionEncodings::default())
            .apply_max_message_size_config(Some(bytes_max), None)
            .unary(Export { door: self.door, tenant, held }, request)
            .await
    }
}

/// One call.
struct Export {
    door: Door,
    tenant: TenantId,
    held: Arc<Mutex<Option<Held>>>,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (door, tenant, held) = (self.door.clone(), self.tenant.clone(), self.held.lock().take());
        Box::pin(async move {
            let message = request.into_inner();
            let held = held.map_or_else(|| door.in_flight.enter(&tenant, message.len()), Ok);
            let held = held.and_then(|mut held| held.hold_at_most(message.len()).map(|()| held));
            let decode = move |gate: &_, limits: &_| decode_record(PushKind::OtlpProtobuf, &message, gate, limits);
            match held {
                Ok(held) => door.take(&tenant, held, decode).await.map_err(|error| status_of(&error))?,
                Err(error) => return Err(status_of(&error)),
            };
            // An ExportLogsServiceResponse without a partial success has no fields.
            Ok(Response::new(Bytes::new()))
        })
    }
}

/// A body whose bytes count as being in flight while they come.
struct Counted<B> {
    inner: B,
    held: Arc<Mutex<Option<Held>>>,
    bytes: usize,
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(frame)) => frame.map_err(Into::into),
        };
        if let Ok(data) = frame.as_ref().map(|frame| frame.data_ref().map_or(0, Bytes::len)) {
            self.bytes += data;
            let bytes = self.bytes;
            if let Some(Err(error)) = self.held.lock().as_mut().map(|held| held.hold(bytes)) {
                return Poll::Ready(Some(Err(status_of(&error).into())));
            }
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Messages as they are.
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = BytesCodec;
    type Decoder = BytesCodec;

    fn encoder(&mut self) -> BytesCodec {
        BytesCodec
    }

    fn decoder(&mut self) -> BytesCodec {
        BytesCodec
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

#[derive(Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<AnyMessage>,
}

#[derive(Message)]
struct AnyMessage {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// A refusal as gRPC says it.
fn status_of(error: &PushError) -> Status {
    let code = match error.status {
        429 | 500 | 503 => Code::Unavailable,
        401 => Code::Unauthenticated,
        403 | 260 => Code::PermissionDenied,
        408 => Code::DeadlineExceeded,
        413 => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    if code != Code::Unavailable {
        return Status::new(code, error.text.clone());
    }
    let wait = error.retry_after.unwrap_or(std::time::Duration::from_secs(1));
    let delay = Delay {
        seconds: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(wait.subsec_nanos()).unwrap_or(0),
    };
    let retry = AnyMessage {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec(),
    };
    let details = RpcStatus { code: code as i32, message: error.text.clone(), details: vec![retry] };
    Status::with_details(code, error.text.clone(), details.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_work_later_says_when() {
        let check = |status: u16, code: Code| {
            let status = status_of(&PushError::new(status, "why"));
            assert_eq!((status.code(), status.message()), (code, "why"));
            status
        };
        check(400, Code::InvalidArgument);
        check(401, Code::Unauthenticated);
        check(260, Code::PermissionDenied);
        check(413, Code::ResourceExhausted);
        let later = check(429, Code::Unavailable);
        let details = RpcStatus::decode(later.details()).expect("a status");
        let retry = RetryInfo::decode(&*details.details[0].value).expect("a delay");
        assert_eq!(retry.retry_delay.map(|delay| delay.seconds), Some(1));
    }
}
