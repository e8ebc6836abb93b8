import Lantern
import OrderService

@main
enum OrderMain {
    static func main() async { await Ordering.main() }
}
