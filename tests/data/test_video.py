"""Videos keep their size, rate and frames; what can't be read or written is told in a sentence."""

import sys
import wave

import numpy as np
import pytest

from mrcnn.data.video import Video, VideoError, VideoWriter


def ramps(height, width, count):
    """Frames [height, width, 3] whose brightness wanders, so that each differs from the next."""
    y, x = np.mgrid[:height, :width]
    for i in range(count):
        yield np.stack([x + 5 * i, y + 3 * i, np.full_like(x, 9 * i)], axis=-1).astype(np.uint8)


def write(path, height=48, width=64, count=12, fps=12.5):
    with VideoWriter(path, fps) as video:
        for frame in ramps(height, width, count):
            video.write(frame)
    return path


@pytest.fixture
def ffmpeg():
    pytest.importorskip("imageio_ffmpeg")


@pytest.mark.parametrize("height, width", [(48, 64), (49, 63)])
@pytest.mark.parametrize("fps", [12.5, 29.97])
def test_what_is_written_is_read_again(ffmpeg, tmp_path, height, width, fps):
    with Video(write(tmp_path / "v.mp4", height, width, fps=fps)) as video:
        assert (video.height, video.width, video.num_frames) == (height, width, 12)
        assert video.fps == pytest.approx(fps, abs=0.01)  # ffmpeg tells two digits
        frames = list(video)
    assert len(frames) == 12
    for frame, written in zip(frames, ramps(height, width, 12)):
        assert frame.dtype == np.uint8 and frame.shape == (height, width, 3)
        # The codec loses a little; a neighbouring frame is 4 to 9 levels away.
        assert np.abs(frame.astype(int) - written).mean() < 3


def test_an_exception_leaves_what_was_written(ffmpeg, tmp_path):
    path = tmp_path / "v.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 25) as video:
        for i, frame in enumerate(ramps(48, 64, 9)):
            if i == 5:
                video._process.stdin.write(frame[:20].tobytes())  # as if it came amid a frame
                raise KeyboardInterrupt
            video.write(frame)
    with Video(path) as video:
        assert len(list(video)) == 5


def test_what_cannot_be_read_is_named(ffmpeg, tmp_path):
    whole = write(tmp_path / "v.mp4")
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", None))
        sound.writeframes(bytes(16000))
    for name in ("cut.mp4", "text.mp4", "empty.mp4", "sound.wav"):
        with pytest.raises(VideoError, match=rf"{name} can't be read as a video: \w.*complete"):
            Video(tmp_path / name)


def test_no_such_file_and_no_camera(monkeypatch):
    with pytest.raises(VideoError, match=r"no video file nothing\.mp4.*by its number"):
        Video("nothing.mp4")
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(VideoError, match="no camera 97: this computer has no /dev/video97"):
        Video("97")


def test_a_camera_gives_the_newest_frame_and_leaves_out_others(ffmpeg, monkeypatch):
    """ffmpeg's own test picture stands for a camera that gives 500 frames a second."""
    source = ("testsrc=size=64x48:rate=500:duration=2", ["-f", "lavfi"])
    monkeypatch.setattr("mrcnn.data.video.camera", lambda number: source)
    with Video("3") as video:
        assert (video.height, video.width, video.fps, video.live) == (48, 64, 500, True)
        numbers = []
        for number, frame in video.numbered():
            assert frame.shape == (48, 64, 3)
            numbers.append(number)
            while not video._newest._ended and len(numbers) == 1:  # a slow network
                pass
        assert numbers[0] < numbers[1] == 1000 and len(numbers) == 2


def test_a_camera_can_be_left(ffmpeg, monkeypatch):
    source = ("testsrc=size=64x48:rate=50", ["-re", "-f", "lavfi"])
    monkeypatch.setattr("mrcnn.data.video.camera", lambda number: source)
    with Video("3") as video:
        next(video.numbered())
        thread = video._newest._thread
    assert not thread.is_alive()


def test_what_cannot_be_written_is_named(ffmpeg, tmp_path):
    with pytest.raises(VideoError, match=r"v\.mp4 can't be written: .*No such file or directory"):
        write(tmp_path / "nowhere" / "v.mp4", count=200)
    with VideoWriter(tmp_path / "v.mp4", 25) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
        with pytest.raises(ValueError, match=r"Frame 1 is \[48, 62, 3\] of uint8.*\[48, 64, 3\]"):
            video.write(np.zeros((48, 62, 3), np.uint8))


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # its import then fails
    (tmp_path / "v.mp4").touch()
    for use in (lambda: Video(tmp_path / "v.mp4"), lambda: VideoWriter(tmp_path / "w.mp4", 25)):
        with pytest.raises(VideoError, match=r'pip install "imageio-ffmpeg'):
            use()
