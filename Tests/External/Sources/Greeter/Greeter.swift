import Lantern

/// The smallest service: one route, and everything else by the wrap.
@main
struct Greeter: LanternService {
    static let name = "greeter"

    static func assemble(_ platform: Platform) async throws {
        platform.routes { router in
            router.get("/v1/greeting") { _, _ in "Hello" }
        }
    }
}
