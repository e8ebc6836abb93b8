import Synchronization

extension MetricsRegistry {
    /// Checks a typed declaration, and makes its family, so that every mistake is told at the start. Answers the exposed
    /// name. The same declaration twice is the same metric.
    func declare(
        _ name: String, _ kind: MetricKind, _ help: String, labels: [String],
        buckets: [Double] = MetricDeclaration.defaultBuckets, isNative: Bool = false, storage: Family.Storage
    ) throws(MetricsError) -> String {
        let allowsUTF8 = self.configuration.allowsUTF8Names
        guard !name.isEmpty, allowsUTF8 || MetricName.isClassic(name, allowColon: true) else {
            throw MetricsError(
                .invalidName, "\"\(name)\" is no metric name: letters, digits, _ and :, and no digit first"
            )
        }
        for (index, label) in labels.enumerated() {
            guard !label.isEmpty, allowsUTF8 || MetricName.isClassic(label, allowColon: false) else {
                throw MetricsError(
                    .invalidLabel, "\"\(label)\" of \(name) is no label name: letters, digits and _, no digit first"
                )
            }
            guard !label.hasPrefix("__"), kind != .histogram || label != "le" else {
                throw MetricsError(.invalidLabel, "\"\(label)\" of \(name) is reserved for Prometheus")
            }
            guard labels.firstIndex(of: label) == index else {
                throw MetricsError(.invalidLabel, "\"\(label)\" of \(name) is there twice")
            }
        }
        guard buckets.allSatisfy(\.isFinite), zip(buckets, buckets.dropFirst()).allSatisfy({ $0 < $1 }),
            buckets.count <= 256
        else {
            throw MetricsError(.invalidBuckets, "the bounds of \(name) must be finite, ascending and at most 256")
        }
        let exposed = MetricName.family(name, kind: kind, allowsUTF8: allowsUTF8)
        let declaration = MetricDeclaration(
            exposed, kind, help, labels: labels, buckets: buckets, isNative: isNative
        )
        let error = self.state.withLock { state -> MetricsError? in
            if let other = state.declarations[exposed], !other.isSame(as: declaration) {
                return MetricsError(.clash, "\(exposed) is declared already, as another metric")
            }
            // What is in use keeps the buckets that it was made with; better an error than a histogram of other ones.
            if let family = state.families[ExactName(exposed)], kind == .histogram, family.kind == kind,
                !(family.declaration?.isSame(as: declaration) ?? false)
            {
                return MetricsError(.clash, "\(exposed) is in use already, with other buckets: declare it before")
            }
            let isNew = state.declarations[exposed] == nil
            if isNew { state.declarations[exposed] = declaration }
            switch self.family(exposed, kind, storage, &state) {
            case .success: return nil
            case .failure(let clash):
                if isNew { state.declarations[exposed] = nil }
                return MetricsError(.clash, "samples of \(exposed) would bear the name of those of \(clash.other)")
            }
        }
        if let error { throw error }
        return exposed
    }
}

extension MetricDeclaration {
    fileprivate func isSame(as other: MetricDeclaration) -> Bool {
        self.kind == other.kind && self.labels == other.labels
            && (self.kind != .histogram || (self.buckets == other.buckets && self.isNative == other.isNative))
    }
}
