import Synchronization

extension MetricsRegistry {
    /// Drops series that were neither asked for nor held for the idle lifetime. Called by scrapes, so that a registry that
    /// nobody scrapes keeps what it has.
    func sweep(now: ContinuousClock.Instant = .now) {
        // While somebody who does not read on holds a scrape, nothing that is dropped can be used again; dropping more, and
        // making new series in its place, would have no end.
        guard let lifetime = self.configuration.idleLifetime, !self.store.isResting else { return }
        let isDue = self.state.withLock { state in
            guard now - state.lastSweep >= lifetime else { return false }
            state.lastSweep = now
            return true
        }
        guard isDue else { return }
        let generation = self.generation.wrappingAdd(1, ordering: .relaxed).newValue
        // Not touched in the interval that just ended, nor in the one before: at least one whole lifetime.
        self.drop(generation)
    }

    private func drop(_ generation: UInt32) {
        self.state.withLock { state in
            // Under the lock nobody makes a recorder, and those that go out of the tables are found no more.
            func takeOut<Recorder: AnyObject & Sendable>(_ table: LookupTable<Recorder>) {
                state.recorders -= table.removeIdle(generation: generation).count
            }
            takeOut(self.counters)
            takeOut(self.floatingPointCounters)
            takeOut(self.gauges)
            takeOut(self.histograms)
            let gone = self.rows.removeAll { $0.recorders.load(ordering: .acquiring) == 0 }
            for series in Dictionary(grouping: gone, by: { ObjectIdentifier($0.family) }).values {
                series[0].family.remove(series)
            }
            for series in gone { series.free() }
            state.series -= gone.count
        }
    }
}
