/// One line of a benchmark's report: ours beside a baseline, measured in this run.
package struct Comparison {
    package var name: String
    package var ours: Double
    package var baseline: Double
    package var unit: String
    package var what: String

    package init(name: String, ours: Double, baseline: Double, unit: String, what: String) {
        self.name = name
        self.ours = ours
        self.baseline = baseline
        self.unit = unit
        self.what = what
    }

    /// Above 1 where ours takes less.
    package var ratio: Double { self.baseline / self.ours }

    package func report() {
        func number(_ value: Double) -> String {
            let digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
            let scale = [1.0, 10, 100][digits]
            let rounded = (value * scale).rounded() / scale
            return digits == 0 ? String(Int(rounded)) : String(rounded)
        }
        let name = self.name.padding(to: 30)
        print(
            "\(name) ours=\(number(self.ours))\(self.unit) baseline=\(number(self.baseline))\(self.unit)"
                + " (\(self.what)) ratio=\(number(self.ratio))"
        )
    }
}

extension String {
    package func padding(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - self.count))
    }
}

/// Nanoseconds that one of `count` calls takes: the best of several rounds, because what disturbs only ever adds.
package func nanoseconds(_ count: Int, rounds: Int = 7, _ body: (Int) -> Void) -> Double {
    var best = Double.infinity
    for _ in 0..<rounds {
        let time = ContinuousClock().measure { body(count) }
        best = min(best, time.inNanoseconds / Double(count))
    }
    return best
}

/// The same with several threads at once; the time is that of the wall, divided by all calls.
package func nanoseconds(
    threads: Int, _ count: Int, rounds: Int = 7, _ body: @escaping @Sendable (Int) -> Void
) async -> Double {
    var best = Double.infinity
    for _ in 0..<rounds {
        let start = ContinuousClock.now
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<threads { group.addTask { body(count) } }
        }
        best = min(best, start.duration(to: .now).inNanoseconds / Double(count * threads))
    }
    return best
}

extension Duration {
    package var inNanoseconds: Double {
        Double(self.components.seconds) * 1_000_000_000 + Double(self.components.attoseconds) / 1_000_000_000
    }
}
