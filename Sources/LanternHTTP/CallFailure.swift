import AsyncHTTPClient
import NIOCore

/// Why a call has no answer, in the few words that `error.type` has for it. `LanternIdentity` has the same words.
enum CallFailure: String {
    case timeout
    /// No connection, or one that broke before the answer.
    case unreachable
    case cancelled
    case other

    init(_ error: any Error) {
        self =
            switch error {
            case is CancellationError: .cancelled
            case let error as HTTPClientError: Self.named(error)
            case ChannelError.connectTimeout: .timeout
            case is ChannelError, is IOError: .unreachable
            // What NIOPosix throws where a name leads nowhere. It goes by its name: this module does not need NIOPosix.
            case _ where String(describing: type(of: error)) == "NIOConnectionError": .unreachable
            default: .other
            }
    }

    private static func named(_ error: HTTPClientError) -> CallFailure {
        switch error {
        case .deadlineExceeded, .connectTimeout, .readTimeout, .writeTimeout, .getConnectionFromPoolTimeout,
            .tlsHandshakeTimeout, .socksHandshakeTimeout, .httpProxyHandshakeTimeout:
            .timeout
        case .remoteConnectionClosed: .unreachable
        case .cancelled: .cancelled
        default: .other
        }
    }
}
