"""What an author's class is made of: the class, its commands and their schema, pictures, the manifest.

Imports `weights`; is imported by `running`, `worker`, `session`, `server`, `headless`, `cli`, `images`, and by the
package itself. The server's folders take no more of it than documents and the manifest.
"""
