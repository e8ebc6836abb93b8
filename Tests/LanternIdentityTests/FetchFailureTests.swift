import AsyncHTTPClient
import NIOCore
import Testing

@testable import LanternIdentity

@Suite("Why a key set could not be fetched")
struct FetchFailureTests {
    @Test(
        "each error of the client has one of few words, the same as for calls to other services",
        arguments: [
            (HTTPClientError.deadlineExceeded, "timeout"),
            (HTTPClientError.connectTimeout, "timeout"),
            (HTTPClientError.readTimeout, "timeout"),
            (HTTPClientError.getConnectionFromPoolTimeout, "timeout"),
            (ChannelError.connectTimeout(.seconds(1)), "timeout"),
            (HTTPClientError.remoteConnectionClosed, "unreachable"),
            (ChannelError.ioOnClosedChannel, "unreachable"),
            (CancellationError(), "cancelled"),
            (HTTPClientError.cancelled, "cancelled"),
            (HTTPClientError.invalidURL, "other"),
            (NIOTooManyBytesError(maxBytes: 1), "other"),
        ] as [(any Error, String)]
    )
    func words(error: any Error, word: String) {
        #expect(FetchFailure(error).rawValue == word)
    }
}
