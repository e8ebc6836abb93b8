import BenchmarkSupport

@main
struct TracingBenchmark {
    static func main() async {}
}
