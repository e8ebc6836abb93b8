import TestSupport
import Testing

/// Waits until a condition holds; the test ends where it does not in time.
func wait(
    for what: String, within limit: Duration = .seconds(30), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let holds: Bool? = try await eventually(within: limit) { try await condition() ? true : nil }
    try #require(holds == true, "waited in vain for \(what)", sourceLocation: sourceLocation)
}
