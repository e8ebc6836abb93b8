import AsyncHTTPClient
import Glibc
import NIOCore
import NIOHTTP1
import Testing

@testable import LanternHTTP

@Suite("Why a call has no answer")
struct CallFailureTests {
    @Test(
        "each error of the client has one of few words",
        arguments: [
            (HTTPClientError.deadlineExceeded, "timeout"),
            (HTTPClientError.connectTimeout, "timeout"),
            (HTTPClientError.readTimeout, "timeout"),
            (HTTPClientError.writeTimeout, "timeout"),
            (HTTPClientError.getConnectionFromPoolTimeout, "timeout"),
            (HTTPClientError.tlsHandshakeTimeout, "timeout"),
            (HTTPClientError.socksHandshakeTimeout, "timeout"),
            (HTTPClientError.httpProxyHandshakeTimeout, "timeout"),
            (ChannelError.connectTimeout(.seconds(1)), "timeout"),
            (HTTPClientError.remoteConnectionClosed, "unreachable"),
            (IOError(errnoCode: ECONNREFUSED, reason: "connect"), "unreachable"),
            (ChannelError.ioOnClosedChannel, "unreachable"),
            (CancellationError(), "cancelled"),
            (HTTPClientError.cancelled, "cancelled"),
            (HTTPClientError.invalidURL, "other"),
            (HTTPClientError.unsupportedScheme("ftp"), "other"),
            (HTTPParserError.invalidHeaderToken, "other"),
        ] as [(any Error, String)]
    )
    func words(error: any Error, word: String) {
        #expect(CallFailure(error).rawValue == word)
    }
}
