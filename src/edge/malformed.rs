//! Why a request was refused before any HTTP parser could give it a meaning.

/// One name for each way in which bytes are not one unambiguous HTTP/1 request
/// (RFC 9112; `security.md` groups A to C). Carries nothing that the client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Malformed {
    /// The body stopped coming.
    BodyTimeout,
    /// A chunk size, extension or end that is not of RFC 9112 §7.1.
    Chunk,
    /// `Content-Length` that is not one decimal number, or more than one of them.
    ContentLength,
    /// `Content-Length` beyond 63 bits.
    ContentLengthTooLarge,
    /// Both `Content-Length` and `Transfer-Encoding`.
    ContentLengthWithTransferEncoding,
    /// NUL, CR or another control character in a field value.
    FieldValue,
    /// An empty field name, one with a character that is no `tchar`, or white space before
    /// its colon.
    FieldName,
    /// A line that begins with white space: obsolete folding (RFC 9112 §5.2).
    FoldedLine,
    /// The head stopped coming.
    HeaderTimeout,
    /// Too many bytes or fields in the head or in the trailers.
    HeadersTooLarge,
    /// No `Host`, more than one, or one that is not `host[:port]`.
    Host,
    /// A line that ends in LF alone, or a CR that is not followed by LF.
    LineEnd,
    /// A method that is no token, in lower case, or none that this gateway knows.
    Method,
    /// A request line that is not `method SP target SP version`.
    RequestLine,
    /// A target that is not origin-form, absolute-form or `*`, or holds a control character,
    /// `#`, or another character that RFC 3986 does not allow.
    Target,
    /// A trailer section that is not well-formed.
    Trailer,
    /// `Transfer-Encoding` other than one `chunked`, or in HTTP/1.0.
    TransferEncoding,
    /// A transfer coding this gateway does not know (`gzip, chunked` and the like).
    TransferEncodingUnknown,
    /// The target is longer than the limit.
    UriTooLong,
    /// An HTTP version that is not 1.0 or 1.1.
    Version,
}

impl Malformed {
    /// The word for it in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Malformed::BodyTimeout => "body_timeout",
            Malformed::Chunk => "chunk",
            Malformed::ContentLength => "content_length",
            Malformed::ContentLengthTooLarge => "content_length_too_large",
            Malformed::ContentLengthWithTransferEncoding => "content_length_with_transfer_encoding",
            Malformed::FieldName => "field_name",
            Malformed::FieldValue => "field_value",
            Malformed::FoldedLine => "folded_line",
            Malformed::HeaderTimeout => "header_timeout",
            Malformed::HeadersTooLarge => "headers_too_large",
            Malformed::Host => "host",
            Malformed::LineEnd => "line_end",
            Malformed::Method => "method",
            Malformed::RequestLine => "request_line",
            Malformed::Target => "target",
            Malformed::Trailer => "trailer",
            Malformed::TransferEncoding => "transfer_encoding",
            Malformed::TransferEncodingUnknown => "transfer_encoding_unknown",
            Malformed::UriTooLong => "uri_too_long",
            Malformed::Version => "version",
        }
    }
}
