@main
enum EventsBenchmark {
    static func main() async throws {}
}
