import Testing

@testable import LanternHTTP

@Suite("Methods in telemetry")
struct HTTPMethodNameTests {
    @Test(
        "a method that the conventions know is itself",
        arguments: ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
    )
    func known(method: String) {
        let name = HTTPMethodName(method)
        #expect(name.label == method)
        #expect(name.display == method)
        #expect(name.original == nil)
    }

    @Test("any other is _OTHER, and its span is HTTP", arguments: ["PROPFIND", "get", "GET ", "_OTHER", ""])
    func unknown(method: String) {
        let name = HTTPMethodName(method)
        #expect(name.label == "_OTHER")
        #expect(name.display == "HTTP")
        #expect(name.original == method)
    }
}
