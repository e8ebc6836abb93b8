/// Waits for a condition with a deadline.
/// - Returns: The first value that is not `nil`; `nil` when there was none by the deadline.
public func eventually<Value>(
    within limit: Duration = .seconds(30), _ attempt: () async throws -> Value?
) async throws -> Value? {
    let deadline = ContinuousClock.now + limit
    while true {
        if let value = try await attempt() { return value }
        guard ContinuousClock.now < deadline else { return nil }
        try await Task.sleep(for: .milliseconds(20))
    }
}
