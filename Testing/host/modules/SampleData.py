"""Stand-in for Slicer's Sample Data module: sources are registered and loaded; only local files are "downloaded"."""

from urllib.parse import unquote, urlparse


class SampleDataSource:
    """One sample: its files, and how they are loaded."""

    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType=None,
        loadFileProperties=None,
    ):
        def as_list(value):
            return [value] if isinstance(value, str) or value is None else list(value)

        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.uris, self.fileNames, self.nodeNames = as_list(uris), as_list(fileNames), as_list(nodeNames)
        self.checksums, self.loadFileType = as_list(checksums), as_list(loadFileType)
        self.loadFiles, self.customDownloader = loadFiles, customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = dict(loadFileProperties or {})
        if not customDownloader and len({len(self.uris), len(self.fileNames), len(self.nodeNames)}) != 1:
            raise ValueError(f"All fields of sample data source must have the same length: {sampleName}")


class SampleDataLogic:
    """What modules call to offer a sample, and what the panel calls to load one."""

    @staticmethod
    def registerCustomSampleDataCategory(category, title=None, visible=True):
        import slicer

        slicer.modules.sampleDataCategories[category] = {"title": title or category, "visible": visible}

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType="VolumeFile",
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
    ):
        import slicer

        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            thumbnailFileName=thumbnailFileName,
            loadFileType=loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
        )
        slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    def sourceForSampleName(self, sampleName):
        import slicer

        for sources in slicer.modules.sampleDataSources.values():
            for source in sources:
                if source.sampleName == sampleName:
                    return source
        return None

    def downloadSample(self, sampleName):
        """Load a sample's files into the scene and return the last node, as ``SampleData.downloadSample`` does."""
        import slicer

        source = self.sourceForSampleName(sampleName)
        if source is None:
            raise ValueError(f"there is no sample named {sampleName}")
        loaded = None
        for uri, node_name in zip(source.uris, source.nodeNames, strict=True):
            parts = urlparse(uri)
            if parts.scheme != "file":
                raise ValueError(f"the stand-in loads local files only, not {uri}")
            properties = {**source.loadFileProperties, "name": node_name}
            loaded = slicer.util.loadNodeFromFile(unquote(parts.path), source.loadFileType[0], properties)
        return loaded


def downloadSample(sampleName):
    return SampleDataLogic().downloadSample(sampleName)
