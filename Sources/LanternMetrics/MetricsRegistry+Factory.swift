public import CoreMetrics

extension MetricsRegistry: MetricsFactory {
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        self.counterRecorder(label, dimensions)
    }

    public func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        self.floatingPointCounterRecorder(label, dimensions)
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        self.gaugeRecorder(label, dimensions)
    }

    /// An aggregating recorder is a histogram; one that does not aggregate keeps its last value, as a gauge.
    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        if aggregate {
            self.histogramRecorder(label, dimensions, .number)
        } else {
            self.gaugeRecorder(label, dimensions)
        }
    }

    /// A timer is a histogram in seconds.
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        self.histogramRecorder(label, dimensions, .nanoseconds)
    }

    // A series outlives its recorder: Prometheus must see a counter until the process ends, or it reads a reset.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}
}
