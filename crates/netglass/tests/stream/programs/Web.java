import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** A server and its client in one process. */
public class Web {
    public static void main(String[] arguments) throws Exception {
        try (ServerSocket server = new ServerSocket(0, 8, InetAddress.getByName("127.0.0.1"))) {
            Thread thread = new Thread(() -> serve(server));
            thread.start();
            for (int i = 0; i < 3; i++) {
                try (Socket client = new Socket("127.0.0.1", server.getLocalPort())) {
                    client.getOutputStream().write(new byte[100]);
                    if (client.getInputStream().readNBytes(1000).length != 1000) {
                        throw new IllegalStateException("the answer is short");
                    }
                }
            }
            thread.join();
        }
    }

    private static void serve(ServerSocket server) {
        for (int i = 0; i < 3; i++) {
            try (Socket client = server.accept()) {
                InputStream in = client.getInputStream();
                in.readNBytes(100);
                OutputStream out = client.getOutputStream();
                out.write(new byte[1000]);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }
    }
}
