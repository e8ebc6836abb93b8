import ArgumentParser
import Foundation
import LanternLocal
import NIOHTTP1

/// `lantern demo`: the real flows, once, as a person would drive them.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract:
            "Registers, logs in, orders and cancels through the APIs; then shows the timeline, a trace, and a check."
    )

    @OptionGroup var options: PlatformOptions

    func run() async throws {
        guard let state = LocalState.read(self.options.state), state.isAlive else {
            throw Failure.misused(
                "no platform runs from \(self.options.state): start one with `make up` or `lantern up`")
        }
        let secrets: LocalSecrets
        do { secrets = try LocalSecrets.load(self.options.state) } catch { throw Failure.misused("\(error)") }
        let demo = Demo(ports: state.ports, secrets: secrets)
        try await demo.run()
    }
}

/// The story that the demo tells.
struct Demo {
    let ports: LocalPorts
    let secrets: LocalSecrets

    private var auth: String { "http://127.0.0.1:\(self.ports.auth)" }
    private var order: String { "http://127.0.0.1:\(self.ports.order)" }
    private var activity: String { "http://127.0.0.1:\(self.ports.activity)" }

    func run() async throws {
        let began = Date()
        let admin = try await self.step("The admin logs in") {
            try await self.logIn(self.secrets.adminEmail, self.secrets.adminPassword)
        }
        let product = try await self.step("The admin puts a lamp into the catalogue, ten in stock") {
            let answer = try await self.expect(
                201, .init("POST"), "\(self.order)/v1/products", token: admin,
                json: [
                    "name": "Storm lantern", "category": "lamps", "price": ["amount": 4_900, "currency": "EUR"],
                    "stock": 10,
                ]
            )
            return try self.text(answer, "id")
        }
        let name = "ada-\(UInt32.random(in: 0...UInt32.max))"
        let email = "\(name)@example.com"
        let password = "lamp-\(UInt64.random(in: 0...UInt64.max))-lit"
        let user = try await self.step("Ada registers as \(email)") {
            let answer = try await self.expect(
                201, .init("POST"), "\(self.auth)/v1/users",
                json: ["email": email, "password": password, "name": "Ada"]
            )
            return try self.text(answer, "id")
        }
        let ada = try await self.step("Ada logs in") { try await self.logIn(email, password) }
        let trace = Self.traceID()
        let order = try await self.step("Ada orders two lamps") {
            let answer = try await self.expect(
                201, .init("POST"), "\(self.order)/v1/orders", token: ada,
                traceparent: "00-\(trace)-00f067aa0ba902b7-01",
                json: ["lines": [["product_id": product, "quantity": 2]]]
            )
            return try self.text(answer, "id")
        }
        try await self.step("Ada wants a hundred more, and is told that there are not so many") {
            _ = try await self.expect(
                409, .init("POST"), "\(self.order)/v1/orders", token: ada,
                json: ["lines": [["product_id": product, "quantity": 100]]]
            )
        }
        try await self.step("Ada cancels, and the lamps are back in stock") {
            _ = try await self.expect(200, .init("POST"), "\(self.order)/v1/orders/\(order)/cancel", token: ada)
            let stock =
                try await self.expect(200, .init("GET"), "\(self.order)/v1/products/\(product)")["stock"] as? Int
            guard stock == 10 else { throw Failure.wrong("the stock is \(stock ?? -1), expected 10") }
        }
        Terminal.line()
        try await self.showTimeline(actor: user, admin: admin, since: began)
        try await self.showTrace(trace)
        try await self.checkCompleteness(admin)
    }

    // MARK: - Steps

    private func step<Value>(_ what: String, _ body: () async throws -> Value) async throws -> Value {
        let start = ContinuousClock.now
        let value = try await body()
        let milliseconds =
            start.duration(to: .now).components.attoseconds / 1_000_000_000_000_000
            + start.duration(to: .now).components.seconds * 1_000
        Terminal.line("\(Terminal.styled("✓", .green)) \(what) \(Terminal.styled("(\(milliseconds) ms)", .dim))")
        return value
    }

    private func logIn(_ email: String, _ password: String) async throws -> String {
        try self.text(
            try await self.expect(
                201, .init("POST"), "\(self.auth)/v1/sessions", json: ["email": email, "password": password]
            ), "access_token"
        )
    }

    struct Method { var name: String; init(_ name: String) { self.name = name } }

    private func expect(
        _ status: Int, _ method: Method, _ url: String, token: String? = nil, traceparent: String? = nil,
        json: Any? = nil
    ) async throws -> HTTP.Answer {
        let answer = try await HTTP.request(
            .init(rawValue: method.name), url, token: token, traceparent: traceparent, json: json
        )
        guard answer.status == status else {
            throw Failure.wrong(
                "\(method.name) \(url) answered \(answer.status), expected \(status): \(String(decoding: answer.body, as: UTF8.self))"
            )
        }
        return answer
    }

    private func text(_ answer: HTTP.Answer, _ name: String) throws -> String {
        guard let value = answer[name] as? String else { throw Failure.wrong("the answer has no \(name)") }
        return value
    }

    private static func traceID() -> String {
        (0..<16).map { _ in
            let digits = String(UInt8.random(in: 0...255), radix: 16)
            return digits.count == 1 ? "0\(digits)" : digits
        }.joined()
    }

    // MARK: - What came of it

    private func showTimeline(actor: String, admin: String, since: Date) async throws {
        var entries: [[String: Any]] = []
        let deadline = ContinuousClock.now + .seconds(15)
        // Registered, logged in, placed, refused, cancelled.
        while entries.count < 5, ContinuousClock.now < deadline {
            let answer = try await self.expect(
                200, .init("GET"), "\(self.activity)/v1/timeline?actor=\(actor)&order=asc", token: admin
            )
            entries = answer["data"] as? [[String: Any]] ?? []
            if entries.count < 5 { try await Task.sleep(for: .milliseconds(50)) }
        }
        Terminal.line(Terminal.styled("What Ada did, on the timeline", .bold))
        Terminal.table(
            ["TIME", "ACTION", "TARGET", "OUTCOME", "TRACE", "LOG"],
            entries.map { entry in
                let target = entry["target"] as? [String: Any]
                return [
                    String((entry["time"] as? String ?? "").dropFirst(11).prefix(15)), entry["action"] as? String ?? "",
                    "\(target?["type"] as? String ?? "")/\((target?["id"] as? String ?? "").suffix(12))",
                    entry["outcome"] as? String ?? "", String((entry["trace_id"] as? String ?? "").prefix(8)),
                    "\(entry["log_index"] as? Int ?? -1)",
                ]
            }
        )
        guard entries.count >= 5 else { throw Failure.wrong("\(entries.count) of 5 acts are on the timeline") }
        Terminal.line()
    }

    private func showTrace(_ trace: String) async throws {
        Terminal.line(Terminal.styled("The trace of Ada's order, \(trace)", .bold))
        var tree = TraceTree(trace: trace, spans: [])
        let deadline = ContinuousClock.now + .seconds(15)
        while ContinuousClock.now < deadline {
            let answer = try await self.expect(
                200, .init("GET"), "http://127.0.0.1:\(self.ports.traces)/traces/\(trace)")
            tree = TraceTree(trace: trace, spans: try TraceTree.decode(answer.body))
            if tree.isWhole { break }
            try await Task.sleep(for: .milliseconds(100))
        }
        for line in tree.lines { Terminal.line(line) }
        guard tree.isWhole else { throw Failure.wrong("the trace does not reach the timeline") }
        Terminal.line()
    }

    private func checkCompleteness(_ admin: String) async throws {
        Terminal.line(Terminal.styled("Is anything missing?", .bold))
        var rows: [[String: Any]] = []
        let deadline = ContinuousClock.now + .seconds(40)
        while ContinuousClock.now < deadline {
            rows =
                try await self.expect(200, .init("GET"), "\(self.activity)/v1/sources", token: admin)["data"]
                as? [[String: Any]] ?? []
            let settled =
                !rows.isEmpty
                && rows.allSatisfy { ($0["head_announced"] as? Int ?? 0) == ($0["head_contiguous"] as? Int ?? 0) }
            if settled { break }
            try await Task.sleep(for: .milliseconds(200))
        }
        Terminal.table(
            ["SOURCE", "EPOCH", "ANNOUNCED", "CONTIGUOUS", "GAPS", "DUPLICATES"],
            rows.map { row in
                [
                    row["source"] as? String ?? "", "\(row["epoch"] as? Int ?? 0)",
                    "\(row["head_announced"] as? Int ?? 0)",
                    "\(row["head_contiguous"] as? Int ?? 0)", "\(row["gaps"] as? Int ?? 0)",
                    "\(row["duplicates_dropped"] as? Int ?? 0)",
                ]
            }
        )
        let faults = rows.filter {
            ($0["gaps"] as? Int ?? 0) > 0 || ($0["head_announced"] as? Int ?? 0) > ($0["head_contiguous"] as? Int ?? 0)
        }
        guard faults.isEmpty, !rows.isEmpty else {
            throw Failure.wrong("\(faults.count) sources are not complete on the timeline")
        }
        Terminal.line("\(Terminal.styled("✓", .green)) every event that the sources announced is on the timeline")
    }
}
