extern "C" int gpu_job(int argc, char** argv);

int main(int argc, char** argv) { return gpu_job(argc, argv); }
